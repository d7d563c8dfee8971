"""The transform for evaluation: resize, crop or pad, convert to RGB, convert to a tensor, normalise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry_core.config.model import PreprocessConfig
from registry_core.preprocess.images import ToRGB, as_image, check_resized, torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class InferenceTransform:
    """PIL image -> float32 tensor [3, height, width]. It can be pickled, and its repr lists the settings.

    Args:
        config: How to resize and normalise.
        size: Height and width of the result.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int]) -> None:
        self.config = config
        self.size = size
        self._steps: tuple[Callable[[Any], Any], ...] = ()

    def __call__(self, image: Image) -> Tensor:
        """Transform one image of any size and mode.

        Raises:
            BuildError: Pillow or torchvision is not installed.
            InputError: The object is not a usable image, its mode cannot be converted to RGB, or it is too narrow to
                keep its aspect ratio.
        """
        result: Any = image
        for step in self.transforms:
            result = step(result)
        tensor: Tensor = result
        return tensor

    @property
    def transforms(self) -> tuple[Callable[[Any], Any], ...]:
        """The steps, like those of a torchvision Compose: fit, convert to RGB, to tensor, normalise.

        The fitting step is Resize alone for `squash`, Resize and CenterCrop of torchvision for `shortest` with a square
        target, and Fit otherwise.
        """
        torchvision_functional()  # first, since its error says what to install
        from torchvision.transforms import Normalize, ToTensor

        if not self._steps:
            normalize = Normalize(self.config.mean, self.config.std)
            self._steps = (*self._fitting_steps(), ToRGB(), ToTensor(), normalize)
        return self._steps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": ()}  # the steps are built again after unpickling

    def _fitting_steps(self) -> list[Callable[[Any], Any]]:
        from torchvision.transforms import CenterCrop

        from registry_core.preprocess.steps import ResizeImage

        height, width = self.size
        mode = _interpolation(torchvision_functional(), self.config)
        if self.config.resize_mode == "squash":
            return [ResizeImage([height, width], mode)]
        if self.config.resize_mode == "shortest" and height == width:
            # With an int, Resize truncates the longer side, as in the published evaluations; with a ratio it would not.
            return [ResizeImage(height, mode), CenterCrop([height, width])]
        return [Fit(self.config, self.size)]

    def __repr__(self) -> str:
        height, width = self.size
        config = self.config
        resizing = f"{config.interpolation}, {config.resize_mode}"
        return f"InferenceTransform({height}x{width}, {resizing}, RGB, mean={config.mean}, std={config.std})"


class Fit:
    """Image -> image of the target size: resized with its aspect ratio kept, then cropped or padded.

    Args:
        config: The settings. The resize_mode `shortest` crops, and `longest` pads.
        size: Height and width of the result.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int]) -> None:
        self.config = config
        self.size = size

    def __call__(self, image: Image) -> Image:
        """Fit one image of any size and mode.

        Raises:
            InputError: The object is not a usable image, or it is too narrow to keep its aspect ratio.
        """
        image = as_image(image)
        return _FITTING[self.config.resize_mode](torchvision_functional(), image, self.size, self.config)

    def __repr__(self) -> str:
        return f"Fit({self.size[0]}x{self.size[1]}, {self.config.interpolation}, {self.config.resize_mode})"


def _interpolation(functional: Any, config: PreprocessConfig) -> Any:
    # "random" is for training; evaluation uses bicubic instead.
    bilinear = config.interpolation == "bilinear"
    return functional.InterpolationMode.BILINEAR if bilinear else functional.InterpolationMode.BICUBIC


def _scaled(functional: Any, image: Image, ratio: float, mode: Any) -> Image:
    """Resize an image to `1 / ratio` of its size, and at least one pixel per side."""
    size = [max(1, round(image.height / ratio)), max(1, round(image.width / ratio))]
    resized: Image = functional.resize(image, size, interpolation=mode)
    return resized


def _shortest(functional: Any, image: Image, size: tuple[int, int], config: PreprocessConfig) -> Image:
    """Resize the shorter side to a target that is not square, then crop the centre."""
    del config
    height, width = size
    ratio = min(image.height / height, image.width / width)
    check_resized(image, [round(image.height / ratio), round(image.width / ratio)])
    # Always bicubic, whatever the config says: open_clip does the same, and a published result depends on it.
    resized = _scaled(functional, image, ratio, functional.InterpolationMode.BICUBIC)
    cropped: Image = functional.center_crop(resized, [height, width])
    return cropped


def _longest(functional: Any, image: Image, size: tuple[int, int], config: PreprocessConfig) -> Image:
    """Resize the longer side to the target, and pad the rest."""
    height, width = size
    ratio = max(image.height / height, image.width / width)
    resized = _scaled(functional, image, ratio, _interpolation(functional, config))
    rows, columns = max(height - resized.height, 0), max(width - resized.width, 0)
    padding = [columns // 2, rows // 2, columns - columns // 2, rows - rows // 2]  # left, top, right, bottom
    padded: Image = functional.center_crop(functional.pad(resized, padding, fill=config.fill_color), [height, width])
    return padded


_FITTING = {"shortest": _shortest, "longest": _longest}
