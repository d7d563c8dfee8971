"""What a tower says to an input it cannot take. The checks look at shapes alone, so that they trace and compile."""

from __future__ import annotations

from torch import Tensor

from registry_core.errors import InputError


def check_image(image: Tensor, size: tuple[int, int]) -> None:
    """Refuse anything but [N, 3, height, width] of the tower's size.

    Raises:
        InputError: another number of dimensions, channels or pixels.
    """
    if image.ndim != 4 or tuple(image.shape[1:]) != (3, *size):  # noqa: PLR2004 - N, C, H, W
        raise InputError(
            f"The image tower takes pictures of shape [N, 3, {size[0]}, {size[1]}], got {list(image.shape)}. "
            "`registry.preprocess(model)` makes such tensors; `image_size=` at creation fits a model to another size."
        )


def check_text(text: Tensor, context_length: int) -> None:
    """Refuse anything but [N, L] with L up to the context length.

    Raises:
        InputError: another number of dimensions, or more tokens.
    """
    if text.ndim != 2 or text.shape[1] > context_length:  # noqa: PLR2004 - N, L
        raise InputError(
            f"The text tower takes token ids of shape [N, L] with L up to {context_length}, got {list(text.shape)}. "
            "Truncate the texts, or create the model with a larger `context_length=`."
        )
