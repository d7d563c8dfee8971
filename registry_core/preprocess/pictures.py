"""What the transforms take for a picture: any PIL image with 8 bits a channel, and 16-bit grey brought down to 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_core.errors import BuildError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from PIL.Image import Image

MOST_PIXELS = 1 << 27
"""Of a resized picture, 400 MB as RGB: a picture one pixel wide and thousands high would take all memory there is."""

# Pixel values of these modes have no range that a file states.
_UNBOUNDED = ("I", "F")


def torchvision_functional() -> ModuleType:
    """Torchvision's functions on pictures.

    Raises:
        BuildError: pillow or torchvision is not installed.
    """
    try:
        from torchvision.transforms import functional
    except ImportError as error:
        raise BuildError(
            f"Preprocessing pictures needs pillow and torchvision, and {error.name} is not installed. "
            "Install them: pip install 'registry_core[image]'."
        ) from error
    return functional  # type: ignore[no-any-return] # torchvision has no types


def as_picture(given: Image) -> Image:
    """The picture, if it can be preprocessed; 16-bit grey as 8-bit grey.

    Raises:
        InputError: no PIL image, one without pixels, or one whose values have no known range.
    """
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class

    if not isinstance(given, pillow.Image):
        raise InputError(
            f"Expected a PIL image, got a {type(given).__name__}. Nothing was transformed. Open a file with "
            "PIL.Image.open(path); make an array a picture with PIL.Image.fromarray(array)."
        )
    if 0 in given.size:
        raise InputError(f"The picture has no pixels: its width and height are {given.size}. Nothing was transformed.")
    if given.mode in _UNBOUNDED:
        raise InputError(
            f"The picture's mode is {given.mode!r}, whose values have no known range: what is white cannot be told. "
            "Nothing was transformed. Scale it to 0..255 and convert it to mode 'L' first."
        )
    if given.mode.startswith("I;16"):
        return _high_bytes(given)
    return given.convert("RGBA") if given.mode == "PA" else given  # pillow would blend a PA's indices in resizing


def to_rgb(image: Image) -> Image:
    """The picture as RGB; transparency is dropped, as the published models were measured.

    Raises:
        InputError: pillow cannot convert the mode.
    """
    if "transparency" in image.info:  # of no use here, and pillow warns that it cannot keep it
        image = image.copy()
        del image.info["transparency"]
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(
            f"Pillow cannot convert a picture of mode {image.mode!r} to RGB: {error}. Nothing was transformed. Convert "
            "it to RGB, RGBA, L or CMYK first."
        ) from error


class ToRGB:
    """`to_rgb` as a step that prints; where it is the first, it refuses what is no picture."""

    def __call__(self, image: Image) -> Image:
        """The picture as RGB.

        Raises:
            InputError: no picture, or one that cannot become RGB.
        """
        return to_rgb(as_picture(image))

    def __repr__(self) -> str:
        return "ToRGB()"


def check_resized(image: Image, size: Sequence[int]) -> None:
    """Refuse to blow a picture up beyond all memory.

    Args:
        image: before.
        size: height and width after.

    Raises:
        InputError: the result would have more than MOST_PIXELS.
    """
    height, width = size
    if height * width > MOST_PIXELS:
        raise InputError(
            f"A picture of {image.width}x{image.height} pixels is too narrow: keeping its aspect ratio, it would "
            f"become {width}x{height}, more than {MOST_PIXELS:,} pixels. Nothing was transformed. Crop it first, or "
            "use resize_mode='longest' or 'squash'."
        )


def _high_bytes(image: Image) -> Image:
    """16-bit grey as 8-bit grey: pillow's own conversion clips, and makes all but the darkest white."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class

    return pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
