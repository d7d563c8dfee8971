"""Steps that are torchvision's own classes, as programs expect that look into a Compose. Imports torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchvision.transforms import RandomResizedCrop, Resize  # noqa: TID253 - bases; this module is imported late

from registry_core.preprocess.pictures import as_picture, check_resized

if TYPE_CHECKING:
    from PIL.Image import Image


class ResizePicture(Resize):  # type: ignore[misc] # torchvision has no types
    """torchvision's Resize for pictures, with the refusals of an inference transform.

    Its arguments are those of Resize: an int scales the shorter side, a pair both sides.
    """

    def forward(self, img: Image) -> Image:
        """Resize one picture.

        Raises:
            InputError: no picture, or one too narrow to keep its aspect ratio.
        """
        picture = as_picture(img)
        if isinstance(self.size, int):
            ratio = min(picture.size) / self.size
            check_resized(picture, [round(picture.height / ratio), round(picture.width / ratio)])
        resized: Image = super().forward(picture)
        return resized


class CropPicture(RandomResizedCrop):  # type: ignore[misc] # torchvision has no types
    """torchvision's RandomResizedCrop for pictures, with the refusals of a training transform.

    Its arguments are those of RandomResizedCrop.
    """

    def forward(self, img: Image) -> Image:
        """Crop and resize one picture.

        Raises:
            InputError: no picture, or one that cannot be preprocessed.
        """
        cropped: Image = super().forward(as_picture(img))
        return cropped
