"""The transform for training: random crop, colour jitter, grey scale, tensor, normalise. Or the transform of timm."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry_core.config.model import PreprocessConfig
from registry_core.errors import BuildError
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.preprocess.images import ToRGB, torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_Step = Callable[[Any], Any]


class TrainingTransform:
    """PIL image -> float32 tensor [3, height, width], changed at random. Picklable; its repr lists the settings.

    Random numbers are from torch's global generator. Only the decisions whether to change colours are from Python's
    `random`. Data loaders seed both in each worker. The crop is resized with bicubic interpolation, whatever the config
    says, as in open_clip. timm uses the interpolation of the config.

    Args:
        config: How to normalise.
        size: Height and width of the result.
        augmentation: The random changes.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int], augmentation: AugmentationConfig) -> None:
        self.config = config
        self.size = size
        self.augmentation = augmentation
        self._steps: tuple[_Step, ...] = ()

    def __call__(self, image: Image) -> Tensor:
        """Transform one image of any size and mode.

        Raises:
            BuildError: Pillow, torchvision or timm is not installed.
            InputError: The object is not a usable image, or its mode cannot be converted to RGB.
        """
        result: Any = image
        for step in self.transforms:
            result = step(result)
        tensor: Tensor = result
        return tensor

    @property
    def transforms(self) -> tuple[_Step, ...]:
        """The steps, like those of a torchvision Compose. Without timm, the random crop is the first."""
        self._steps = self._steps or tuple(self._build_steps())
        return self._steps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": ()}  # the steps are built again after unpickling

    def __repr__(self) -> str:
        height, width = self.size
        config = self.config
        chosen = ", ".join(f"{key}={value}" for key, value in self.augmentation if value not in (None, False))
        return f"TrainingTransform({height}x{width}, {chosen}, RGB, mean={config.mean}, std={config.std})"

    def _build_steps(self) -> list[_Step]:
        torchvision_functional()  # first, since its error says what to install
        return self._timm_steps() if self.augmentation.use_timm else self._torchvision_steps()

    def _torchvision_steps(self) -> list[_Step]:
        from torchvision import transforms

        from registry_core.preprocess.steps import CropImage

        config = self.augmentation
        bicubic = transforms.InterpolationMode.BICUBIC
        crop = CropImage(self.size, scale=config.scale, interpolation=bicubic)
        steps: list[_Step] = [crop, ToRGB()]
        if config.color_jitter_prob:
            assert isinstance(config.color_jitter, tuple)
            steps.append(_Sometimes(config.color_jitter_prob, transforms.ColorJitter(*config.color_jitter)))
        if config.gray_scale_prob:
            steps.append(_Sometimes(config.gray_scale_prob, transforms.Grayscale(num_output_channels=3)))
        return [*steps, transforms.ToTensor(), transforms.Normalize(self.config.mean, self.config.std)]

    def _timm_steps(self) -> list[_Step]:
        try:
            from timm.data import create_transform
        except ImportError as error:
            raise BuildError(
                f"augmentation use_timm=True needs timm, and {error.name} is not installed.",
                name=error.name,
                argument="augmentation",
                advice="Install it: pip install 'registry_core[timm]', or leave use_timm out.",
            ) from error
        config = self.augmentation
        keys = ("scale", "ratio", "re_prob", "re_count")
        given = {key: getattr(config, key) for key in keys if getattr(config, key) is not None}
        transform = create_transform(
            input_size=(3, *self.size),
            is_training=True,
            hflip=0.0,  # a caption may mention left and right
            color_jitter=config.color_jitter,
            interpolation=self.config.interpolation,
            mean=self.config.mean,
            std=self.config.std,
            re_mode="pixel",
            **given,
        )
        return [ToRGB(), *transform.transforms]


class _Sometimes:
    """A step that is applied with a probability.

    Args:
        probability: Probability of the step, 0 to 1.
        step: Image -> image.
    """

    def __init__(self, probability: float, step: _Step) -> None:
        self._probability = probability
        self._step = step

    def __call__(self, image: Image) -> Image:
        result: Image = self._step(image) if random.random() < self._probability else image  # noqa: S311 - no secret
        return result

    def __repr__(self) -> str:
        return f"Sometimes({self._probability}, {self._step})"
