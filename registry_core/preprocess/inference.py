"""The transform of evaluation: resize, crop or pad, RGB, tensor, normalise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry_core.config import PreprocessConfig
from registry_core.preprocess.pictures import ToRGB, as_picture, check_resized, torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class InferenceTransform:
    """PIL image -> float32 tensor [3, height, width]. Picklable; printing it says what it does.

    Args:
        config: how to resize and normalise.
        size: height and width of the result.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int]) -> None:
        self.config = config
        self.size = size
        self._steps: tuple[Callable[[Any], Any], ...] = ()

    def __call__(self, image: Image) -> Tensor:
        """Transform one picture of any size and mode.

        Raises:
            BuildError: pillow or torchvision is not installed.
            InputError: no picture, one of a mode that cannot become RGB, or one too narrow to keep its aspect ratio.
        """
        result: Any = image
        for step in self.transforms:
            result = step(result)
        tensor: Tensor = result
        return tensor

    @property
    def transforms(self) -> tuple[Callable[[Any], Any], ...]:
        """The steps, as a torchvision Compose has them: fit, convert to RGB, to tensor, normalise.

        Fitting is torchvision's Resize and CenterCrop where these do it, Resize alone for `squash`, and else a Fit.
        """
        torchvision_functional()  # first: it says what to install
        from torchvision.transforms import Normalize, ToTensor

        if not self._steps:
            normalize = Normalize(self.config.mean, self.config.std)
            self._steps = (*self._fitting(), ToRGB(), ToTensor(), normalize)
        return self._steps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": ()}  # made again where it is unpickled

    def _fitting(self) -> list[Callable[[Any], Any]]:
        from torchvision.transforms import CenterCrop

        from registry_core.preprocess.steps import ResizePicture

        height, width = self.size
        mode = _mode(torchvision_functional(), self.config)
        if self.config.resize_mode == "squash":
            return [ResizePicture([height, width], mode)]
        if self.config.resize_mode == "shortest" and height == width:
            # An int, unlike a ratio, truncates the longer side, as the published numbers were measured.
            return [ResizePicture(height, mode), CenterCrop([height, width])]
        return [Fit(self.config, self.size)]

    def __repr__(self) -> str:
        height, width = self.size
        config = self.config
        how = f"{config.interpolation}, {config.resize_mode}"
        return f"InferenceTransform({height}x{width}, {how}, RGB, mean={config.mean}, std={config.std})"


class Fit:
    """Picture -> picture of the target's size: resized with its aspect ratio kept, and cropped or padded.

    Args:
        config: how; its resize_mode, `shortest` or `longest`, chooses.
        size: height and width of the result.
    """

    def __init__(self, config: PreprocessConfig, size: tuple[int, int]) -> None:
        self.config = config
        self.size = size

    def __call__(self, image: Image) -> Image:
        """Fit one picture of any size and mode.

        Raises:
            InputError: no picture, or one too narrow to keep its aspect ratio.
        """
        picture = as_picture(image)
        return _STEPS[self.config.resize_mode](torchvision_functional(), picture, self.size, self.config)

    def __repr__(self) -> str:
        return f"Fit({self.size[0]}x{self.size[1]}, {self.config.interpolation}, {self.config.resize_mode})"


def _mode(functional: Any, config: PreprocessConfig) -> Any:
    # "random" is for training; evaluation takes bicubic for it.
    bilinear = config.interpolation == "bilinear"
    return functional.InterpolationMode.BILINEAR if bilinear else functional.InterpolationMode.BICUBIC


def _scaled(functional: Any, image: Image, ratio: float, mode: Any) -> Image:
    """The picture at `1 / ratio` of its size; a thin one keeps a pixel."""
    size = [max(1, round(image.height / ratio)), max(1, round(image.width / ratio))]
    resized: Image = functional.resize(image, size, interpolation=mode)
    return resized


def _shortest(functional: Any, image: Image, size: tuple[int, int], config: PreprocessConfig) -> Image:
    """The shorter side to a target that is not square, then the centre."""
    del config
    height, width = size
    ratio = min(image.height / height, image.width / width)
    check_resized(image, [round(image.height / ratio), round(image.width / ratio)])
    # Bicubic whatever the config says: open_clip does so, and a published figure was measured with it.
    resized = _scaled(functional, image, ratio, functional.InterpolationMode.BICUBIC)
    cropped: Image = functional.center_crop(resized, [height, width])
    return cropped


def _longest(functional: Any, image: Image, size: tuple[int, int], config: PreprocessConfig) -> Image:
    """The longer side to the target, the rest padded."""
    height, width = size
    resized = _scaled(functional, image, max(image.height / height, image.width / width), _mode(functional, config))
    down, right = max(height - resized.height, 0), max(width - resized.width, 0)
    padding = [right // 2, down // 2, right - right // 2, down - down // 2]  # left, top, right, bottom
    padded: Image = functional.center_crop(functional.pad(resized, padding, fill=config.fill_color), [height, width])
    return padded


_STEPS = {"shortest": _shortest, "longest": _longest}
