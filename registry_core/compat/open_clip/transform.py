"""From pictures to the image tower's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from registry_core.compat.open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from registry_core.config import PreprocessConfig, as_pair
from registry_core.errors import OverrideError
from registry_core.preprocess.augmentation import augmentation_config
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform
from registry_core.strict import describe_problems

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    Transform = Callable[[Image], Tensor]

__all__ = ["AugmentationCfg", "PreprocessCfg", "image_transform", "image_transform_v2", "merge_preprocess_dict"]

Size = int | tuple[int, int]


@dataclass
class PreprocessCfg:
    """How a picture becomes the image tower's input; see registry_core.PreprocessConfig."""

    size: Size = 224
    mode: str = "RGB"
    mean: tuple[float, ...] = OPENAI_DATASET_MEAN
    std: tuple[float, ...] = OPENAI_DATASET_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    def __post_init__(self) -> None:
        if self.mode != "RGB":
            raise OverrideError(f"mode={self.mode!r}: every model here takes 'RGB'. Leave it out.")

    @property
    def num_channels(self) -> int:
        """Of the input."""
        return 3

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (self.num_channels, *as_pair(self.size))


@dataclass
class AugmentationCfg:
    """What is random in training; see registry_core.AugmentationConfig."""

    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] | None = None
    color_jitter: float | tuple[float, float, float] | tuple[float, float, float, float] | None = None
    re_prob: float | None = None
    re_count: int | None = None
    use_timm: bool = False
    color_jitter_prob: float | None = None
    gray_scale_prob: float | None = None


def image_transform(
    image_size: Size,
    is_train: bool,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize_mode: str | None = None,
    interpolation: str | None = None,
    fill_color: int = 0,
    aug_cfg: Mapping[str, Any] | AugmentationCfg | None = None,
) -> Transform:
    """A torchvision Compose from PIL image to float tensor [3, height, width].

    Args:
        image_size: of the result.
        is_train: the random transform of training.
        mean: of pixel values in [0, 1], a number for all channels or one for each; None means OpenAI's.
        std: likewise.
        resize_mode: shortest, longest or squash.
        interpolation: bicubic, bilinear, or random for timm's training transform.
        fill_color: what `longest` pads with.
        aug_cfg: what is random.

    Raises:
        OverrideError: an argument that does not validate, or has no effect.
        BuildError: pillow, torchvision or timm is not installed.
    """
    given = {
        "size": as_pair(image_size), "mean": by_channel(mean), "std": by_channel(std), "resize_mode": resize_mode,
        "interpolation": interpolation, "fill_color": fill_color,
    }  # fmt: skip
    try:
        config = PreprocessConfig.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise OverrideError(describe_problems(error, PreprocessConfig, "image_transform")) from error
    size = as_pair(image_size)
    if is_train:
        return composed(TrainingTransform(config, size, augmentation_config(augmentation_of(aug_cfg))))
    return composed(InferenceTransform(config, size))


def image_transform_v2(
    cfg: PreprocessCfg, is_train: bool, aug_cfg: Mapping[str, Any] | AugmentationCfg | None = None
) -> Transform:
    """`image_transform` of a PreprocessCfg."""
    given = {key: value for key, value in asdict(cfg).items() if key not in {"size", "mode"}}
    return image_transform(cfg.size, is_train, **given, aug_cfg=aug_cfg)


def merge_preprocess_dict(base: PreprocessCfg | Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of PreprocessCfg in `base`, with those of `overlay` that are not None laid over them."""
    known = PreprocessCfg.__dataclass_fields__.keys()
    below = asdict(base) if isinstance(base, PreprocessCfg) else base
    return {
        **{key: value for key, value in below.items() if key in known},
        **{key: value for key, value in (overlay or {}).items() if key in known and value is not None},
    }


def merge_preprocess_kwargs(base: PreprocessCfg | Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
    """`merge_preprocess_dict` with keywords."""
    return merge_preprocess_dict(base, kwargs)


def augmentation_of(aug_cfg: Mapping[str, Any] | AugmentationCfg | None) -> Mapping[str, Any]:
    """The keys that are said; what is no mapping is for `augmentation_config` to refuse."""
    given: Any = asdict(aug_cfg) if isinstance(aug_cfg, AugmentationCfg) else aug_cfg or {}
    return {key: value for key, value in given.items() if value is not None} if isinstance(given, Mapping) else given


def by_channel(value: Any) -> Any:
    """A mean or deviation that is one number, as open_clip takes it, for each of the three channels."""
    return (value,) * 3 if isinstance(value, (int, float)) else value


def composed(transform: Any) -> Transform:
    """A registry's transform as a torchvision Compose, whose list of steps programs read and change.

    One that a plugin brings, without steps, stays as it is.
    """
    steps = getattr(transform, "transforms", None)
    if steps is None:
        whole: Transform = transform
        return whole
    from torchvision.transforms import Compose

    made: Transform = Compose(list(steps))
    return made
