"""Checks of the inputs of towers. They read shapes and dtypes only, so that towers can be traced and compiled.

Reading token ids would synchronise a GPU and break a compiled graph. On the CPU torch itself refuses an id without an
embedding; only then the ids are read, for the message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, get_args

import torch
from torch import Tensor

from registry_core.errors import InputError, close_names

if TYPE_CHECKING:
    from registry_core.config.model import TextConfig, VisionConfig

_States = TypeVar("_States")
_ID_TYPES = (torch.int64, torch.int32)


def check_image(image: object, size: tuple[int, int] | None) -> None:
    """Refuse anything but images [N, 3, height, width].

    Args:
        image: The input of an image tower.
        size: Height and width that the tower accepts, or None for any.

    Raises:
        InputError: The input is not a floating-point tensor, or its dimensions, channels or pixels do not fit.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = f"a tensor of {image.dtype}" if isinstance(image, Tensor) else f"a {type(image).__name__}"
        raise InputError(
            f"The image tower takes a tensor of floating-point numbers, got {got}.",
            argument="image",
            expected="a tensor of floating-point numbers",
            found=got,
            advice="`registry.preprocess(model)` makes such tensors from images; torch.stack joins them.",
        )
    expected = (3, *(image.shape[2:] if size is None else size))
    if image.ndim != 4 or tuple(image.shape[1:]) != expected:  # noqa: PLR2004 - N, C, H, W
        height, width = ("height", "width") if size is None else size
        shape = f"[N, 3, {height}, {width}]"
        raise InputError(
            f"The image tower takes images of shape {shape}, got {list(image.shape)}.",
            argument="image",
            expected=shape,
            found=list(image.shape),
            advice="`registry.preprocess(model)` makes such tensors. To use another size, create the model with "
            "`image_size=`.",
        )


def check_text(text: object, longest: int | None) -> None:
    """Refuse anything but token ids [N, L], int64 or int32.

    Args:
        text: The input of a text tower.
        longest: The largest L that the tower accepts, or None for any.

    Raises:
        InputError: The input is not a tensor, its dimensions or dtype do not fit, or it has no or too many tokens.
    """
    if not isinstance(text, Tensor):
        raise InputError(
            f"The text tower takes a tensor of token ids, got a {type(text).__name__}.",
            argument="text",
            expected="a tensor of token ids",
            found=type(text).__name__,
            advice="`registry.tokenizer(model)` makes token ids from texts.",
        )
    too_long = longest is not None and text.ndim == 2 and text.shape[1] > longest  # noqa: PLR2004 - N, L
    if text.ndim != 2 or text.shape[1] == 0 or too_long:  # noqa: PLR2004 - N, L
        shape = f"[N, L] with L from 1 {'on' if longest is None else f'to {longest}'}"
        raise InputError(
            f"The text tower takes token ids of shape {shape}, got {list(text.shape)}.",
            argument="text",
            expected=shape,
            found=list(text.shape),
            advice="Truncate the texts, or create the model with a larger `context_length=`.",
        )
    if text.dtype not in _ID_TYPES:
        raise InputError(
            f"The text tower takes token ids of dtype int64 or int32, got {text.dtype}.",
            argument="text",
            expected=_ID_TYPES,
            found=text.dtype,
            advice="`registry.tokenizer(model)` makes such ids.",
        )


def unknown_pooling(pool_type: str, config: type[VisionConfig | TextConfig]) -> InputError:
    """Return the error for an unknown `pool_type`, which must have been set on the tower: configs are validated."""
    known = get_args(config.model_fields["pool_type"].annotation)
    return InputError(
        f"pool_type={pool_type!r} was set on a tower; expected one of {', '.join(known)}. Nothing was computed.",
        argument="pool_type",
        expected=known,
        found=pool_type,
        suggestions=close_names(str(pool_type), known),
    )


def embed_ids(embed: Callable[[Tensor], _States], text: Tensor, vocab_size: int) -> _States:
    """Embed token ids, and explain the failure if an id is not in the vocabulary.

    Args:
        embed: Function from ids [N, L] to states.
        text: Token ids [N, L].
        vocab_size: Number of ids that have an embedding.

    Raises:
        InputError: An id is not in the vocabulary, on the CPU. On other devices torch raises its own assertion.
    """
    if torch.compiler.is_compiling():
        return embed(text)
    try:
        return embed(text)
    except IndexError as error:
        low, high = int(text.min()), int(text.max())
        if low >= 0 and high < vocab_size:
            raise
        raise InputError(
            f"The text tower takes token ids from 0 to {vocab_size - 1} (vocab_size={vocab_size}), got ids from {low} "
            f"to {high}. Nothing was computed. The ids are from another tokenizer.",
            argument="text",
            expected=(0, vocab_size - 1),
            found=(low, high),
            advice="Use the tokenizer of the model, `registry.tokenizer(model)`.",
        ) from error
