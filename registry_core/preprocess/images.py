"""The images that transforms accept: PIL images with 8 bits per channel, and 16-bit grey, which becomes 8-bit grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_core.errors import BuildError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from PIL.Image import Image

MOST_PIXELS = 1 << 27
"""Limit for a resized image: 400 MB as RGB. An image one pixel wide and thousands high would need all memory."""

# Modes whose pixel values have no known range: a file does not state which value is white.
_UNBOUNDED = ("I", "F")


def torchvision_functional() -> ModuleType:
    """Import torchvision's functions on images.

    Raises:
        BuildError: Pillow or torchvision is not installed.
    """
    try:
        from torchvision.transforms import functional
    except ImportError as error:
        raise BuildError(
            f"Preprocessing images needs pillow and torchvision, and {error.name} is not installed.",
            name=error.name,
            advice="Install them: pip install 'registry_core[image]'.",
        ) from error
    module: ModuleType = functional  # torchvision has no types
    return module


def as_image(given: Image) -> Image:
    """Return the image if it can be preprocessed. An image with 16-bit grey is converted to 8-bit grey.

    Raises:
        InputError: The object is not a PIL image, has no pixels, or has pixel values without a known range.
    """
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class

    if not isinstance(given, pillow.Image):
        raise InputError(
            f"Expected a PIL image, got a {type(given).__name__}. Nothing was transformed.",
            expected="a PIL image",
            found=type(given).__name__,
            advice="Open a file with PIL.Image.open(path), or convert an array with PIL.Image.fromarray(array).",
        )
    if 0 in given.size:
        raise InputError(
            f"The image has no pixels: its width and height are {given.size}. Nothing was transformed.",
            found=given.size,
        )
    if given.mode in _UNBOUNDED:
        raise InputError(
            f"The image's mode is {given.mode!r}, whose values have no known range: it is unknown which value is "
            "white. Nothing was transformed.",
            found=given.mode,
            advice="Scale the image to 0..255 and convert it to mode 'L' first.",
        )
    if given.mode.startswith("I;16"):
        return _to_8_bits(given)
    return given.convert("RGBA") if given.mode == "PA" else given  # resizing a PA image would blend palette indices


def to_rgb(image: Image) -> Image:
    """Convert an image to RGB. Transparency is dropped, as in the evaluation of the published models.

    Raises:
        InputError: Pillow cannot convert the mode.
    """
    if "transparency" in image.info:  # not needed, and pillow would warn that the conversion loses it
        image = image.copy()
        del image.info["transparency"]
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(
            f"Pillow cannot convert an image of mode {image.mode!r} to RGB: {error}. Nothing was transformed.",
            found=image.mode,
            advice="Convert it to RGB, RGBA, L or CMYK first.",
        ) from error


class ToRGB:
    """Convert to RGB, as a step of a transform. As the first step, it also checks that the input is an image."""

    def __call__(self, image: Image) -> Image:
        """Convert an image to RGB.

        Raises:
            InputError: The object is not a usable image, or pillow cannot convert its mode.
        """
        return to_rgb(as_image(image))

    def __repr__(self) -> str:
        return "ToRGB()"


def check_resized(image: Image, size: Sequence[int]) -> None:
    """Check that a resized image fits into memory.

    Args:
        image: The image before resizing.
        size: Height and width after resizing.

    Raises:
        InputError: The resized image would have more than MOST_PIXELS pixels.
    """
    height, width = size
    if height * width > MOST_PIXELS:
        raise InputError(
            f"An image of {image.width}x{image.height} pixels is too narrow: with its aspect ratio kept, it would "
            f"become {width}x{height}, more than {MOST_PIXELS:,} pixels. Nothing was transformed.",
            expected=f"at most {MOST_PIXELS} pixels after resizing",
            found=image.size,
            advice="Crop it first, or use resize_mode='longest' or 'squash'.",
        )


def _to_8_bits(image: Image) -> Image:
    """Scale 16-bit grey to 8-bit grey. Pillow's own conversion clips values above 255 to white."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class

    return pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
