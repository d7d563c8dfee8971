"""The transform of training: random crop, colour jitter, grey scale, tensor, normalise; or timm's."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry_core.config import PreprocessConfig
from registry_core.errors import BuildError
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.preprocess.pictures import ToRGB, torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_Step = Callable[[Any], Any]


class TrainingTransform:
    """PIL image -> float32 tensor [3, height, width], another one each time. Picklable; printing it says what it does.

    Randomness comes from torch's global generator, and whether colours are touched from Python's `random`; data
    loaders seed both in each worker. The crop is resized with bicubic interpolation, whatever evaluation does, as
    open_clip trains; timm takes the config's.

    Args:
        config: how to normalise.
        size: height and width of the result.
        augmentation: what is random.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int], augmentation: AugmentationConfig) -> None:
        self.config = config
        self.size = size
        self.augmentation = augmentation
        self._steps: tuple[_Step, ...] = ()

    def __call__(self, image: Image) -> Tensor:
        """Transform one picture of any size and mode.

        Raises:
            BuildError: pillow, torchvision or timm is not installed.
            InputError: no picture, or one of a mode that cannot become RGB.
        """
        result: Any = image
        for step in self.transforms:
            result = step(result)
        tensor: Tensor = result
        return tensor

    @property
    def transforms(self) -> tuple[_Step, ...]:
        """The steps, as a torchvision Compose has them; without timm the random crop is the first."""
        self._steps = self._steps or tuple(self._made())
        return self._steps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": ()}  # made again where it is unpickled

    def __repr__(self) -> str:
        height, width = self.size
        config = self.config
        chosen = ", ".join(f"{key}={value}" for key, value in self.augmentation if value not in (None, False))
        return f"TrainingTransform({height}x{width}, {chosen}, RGB, mean={config.mean}, std={config.std})"

    def _made(self) -> list[_Step]:
        torchvision_functional()  # first: it says what to install
        return self._timm_steps() if self.augmentation.use_timm else self._own_steps()

    def _own_steps(self) -> list[_Step]:
        from torchvision import transforms

        from registry_core.preprocess.steps import CropPicture

        said = self.augmentation
        bicubic = transforms.InterpolationMode.BICUBIC
        crop = CropPicture(self.size, scale=said.scale, interpolation=bicubic)
        steps: list[_Step] = [crop, ToRGB()]
        if said.color_jitter_prob:
            assert isinstance(said.color_jitter, tuple)
            steps.append(_Sometimes(said.color_jitter_prob, transforms.ColorJitter(*said.color_jitter)))
        if said.gray_scale_prob:
            steps.append(_Sometimes(said.gray_scale_prob, transforms.Grayscale(num_output_channels=3)))
        return [*steps, transforms.ToTensor(), transforms.Normalize(self.config.mean, self.config.std)]

    def _timm_steps(self) -> list[_Step]:
        try:
            from timm.data import create_transform
        except ImportError as error:
            raise BuildError(
                f"augmentation use_timm=True needs timm, and {error.name} is not installed. Install it: "
                "pip install 'registry_core[timm]', or leave use_timm out."
            ) from error
        said = self.augmentation
        keys = ("scale", "ratio", "re_prob", "re_count")
        chosen = {key: getattr(said, key) for key in keys if getattr(said, key) is not None}
        made = create_transform(
            input_size=(3, *self.size),
            is_training=True,
            hflip=0.0,  # a caption may speak of left and right
            color_jitter=said.color_jitter,
            interpolation=self.config.interpolation,
            mean=self.config.mean,
            std=self.config.std,
            re_mode="pixel",
            **chosen,
        )
        return [ToRGB(), *made.transforms]


class _Sometimes:
    """A step that is taken with a probability.

    Args:
        probability: 0 to 1.
        step: from picture to picture.
    """

    def __init__(self, probability: float, step: _Step) -> None:
        self._probability = probability
        self._step = step

    def __call__(self, image: Image) -> Image:
        changed: Image = self._step(image) if random.random() < self._probability else image  # noqa: S311 - no secret
        return changed

    def __repr__(self) -> str:
        return f"Sometimes({self._probability}, {self._step})"
