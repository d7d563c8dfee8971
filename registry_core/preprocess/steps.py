"""Steps that are subclasses of torchvision's, since programs look for those in a Compose.

This module imports torchvision, so it is imported only when the steps are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchvision.transforms import RandomResizedCrop, Resize  # noqa: TID253 - base classes, in a module that is imported late

from registry_core.preprocess.images import as_image, check_resized

if TYPE_CHECKING:
    from PIL.Image import Image


class ResizeImage(Resize):  # type: ignore[misc] # torchvision has no types
    """torchvision's Resize with the input checks of an inference transform.

    The arguments are those of Resize: an int is the size of the shorter side, a pair that of both sides.
    """

    def forward(self, img: Image) -> Image:
        """Resize one image.

        Raises:
            InputError: The object is not a usable image, or it is too narrow to keep its aspect ratio.
        """
        image = as_image(img)
        if isinstance(self.size, int):
            ratio = min(image.size) / self.size
            check_resized(image, [round(image.height / ratio), round(image.width / ratio)])
        resized: Image = super().forward(image)
        return resized


class CropImage(RandomResizedCrop):  # type: ignore[misc] # torchvision has no types
    """torchvision's RandomResizedCrop with the input checks of a training transform.

    The arguments are those of RandomResizedCrop.
    """

    def forward(self, img: Image) -> Image:
        """Crop and resize one image.

        Raises:
            InputError: The object is not an image, or not one that can be preprocessed.
        """
        cropped: Image = super().forward(as_image(img))
        return cropped
