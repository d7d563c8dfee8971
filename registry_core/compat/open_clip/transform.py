"""Image transforms: from PIL images to the input of an image tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from registry_core.compat.open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from registry_core.config.base import config_error
from registry_core.config.model import PreprocessConfig, as_pair
from registry_core.errors import OverrideError
from registry_core.preprocess.augmentation import augmentation_config
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    Transform = Callable[[Image], Tensor]

__all__ = ["AugmentationCfg", "PreprocessCfg", "image_transform", "image_transform_v2", "merge_preprocess_dict"]

Size = int | tuple[int, int]


@dataclass
class PreprocessCfg:
    """How images are preprocessed for an image tower. See registry_core.PreprocessConfig."""

    size: Size = 224
    mode: str = "RGB"
    mean: tuple[float, ...] = OPENAI_DATASET_MEAN
    std: tuple[float, ...] = OPENAI_DATASET_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    def __post_init__(self) -> None:
        if self.mode != "RGB":
            raise OverrideError(
                f"mode={self.mode!r}: all models take 'RGB' images.",
                argument="mode",
                expected="RGB",
                found=self.mode,
                advice="Leave it out.",
            )

    @property
    def num_channels(self) -> int:
        """Number of channels of the input."""
        return 3

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of the input."""
        return (self.num_channels, *as_pair(self.size))


@dataclass
class AugmentationCfg:
    """The random augmentation in training. See registry_core.AugmentationConfig."""

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
    """Return a torchvision Compose that turns a PIL image into a float tensor [3, height, width].

    Args:
        image_size: Size of the result.
        is_train: Return the random transform for training.
        mean: Mean of pixel values in [0, 1]: one number for all channels, or one for each. None means OpenAI's.
        std: Standard deviation of pixel values, as for `mean`.
        resize_mode: "shortest", "longest" or "squash".
        interpolation: "bicubic", "bilinear", or "random" for timm's training transform.
        fill_color: Value of the padding with "longest".
        aug_cfg: The random augmentation.

    Raises:
        OverrideError: An argument does not validate, or has no effect.
        BuildError: pillow, torchvision or timm is not installed.
    """
    given = {
        "size": as_pair(image_size), "mean": by_channel(mean), "std": by_channel(std), "resize_mode": resize_mode,
        "interpolation": interpolation, "fill_color": fill_color,
    }  # fmt: skip
    try:
        config = PreprocessConfig.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise config_error(error, PreprocessConfig, "image_transform", OverrideError) from error
    size = as_pair(image_size)
    if is_train:
        return composed(TrainingTransform(config, size, augmentation_config(augmentation_of(aug_cfg))))
    return composed(InferenceTransform(config, size))


def image_transform_v2(
    cfg: PreprocessCfg, is_train: bool, aug_cfg: Mapping[str, Any] | AugmentationCfg | None = None
) -> Transform:
    """Return the same as `image_transform`, with the options in a PreprocessCfg."""
    given = {key: value for key, value in asdict(cfg).items() if key not in {"size", "mode"}}
    return image_transform(cfg.size, is_train, **given, aug_cfg=aug_cfg)


def merge_preprocess_dict(base: PreprocessCfg | Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of PreprocessCfg in `base`, overridden by those of `overlay` that are not None."""
    known = PreprocessCfg.__dataclass_fields__.keys()
    defaults = asdict(base) if isinstance(base, PreprocessCfg) else base
    return {
        **{key: value for key, value in defaults.items() if key in known},
        **{key: value for key, value in (overlay or {}).items() if key in known and value is not None},
    }


def merge_preprocess_kwargs(base: PreprocessCfg | Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Return the same as `merge_preprocess_dict`, with keyword arguments."""
    return merge_preprocess_dict(base, kwargs)


def augmentation_of(aug_cfg: Mapping[str, Any] | AugmentationCfg | None) -> Mapping[str, Any]:
    """Return the keys that are not None. Anything but a mapping is returned as it is, and fails to validate later."""
    given: Any = asdict(aug_cfg) if isinstance(aug_cfg, AugmentationCfg) else aug_cfg or {}
    return {key: value for key, value in given.items() if value is not None} if isinstance(given, Mapping) else given


def by_channel(value: Any) -> Any:
    """Return a mean or standard deviation for each channel. open_clip also takes one number for all three channels."""
    return (value,) * 3 if isinstance(value, (int, float)) else value


def given_keys(preprocess_cfg: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the keys of a PreprocessCfg that are not None, with mean and std for each channel; None if all are."""
    given = {key: value for key, value in (preprocess_cfg or {}).items() if value is not None}
    return {key: by_channel(value) if key in {"mean", "std"} else value for key, value in given.items()} or None


def composed(transform: Any) -> Transform:
    """Return a transform of the registry as a torchvision Compose. Programs read and change its list of steps.

    A transform of a plugin that has no steps is returned as it is.
    """
    steps = getattr(transform, "transforms", None)
    if steps is None:
        whole: Transform = transform
        return whole
    from torchvision.transforms import Compose

    made: Transform = Compose(list(steps))
    return made
