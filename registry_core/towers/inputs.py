"""What a tower says to an input it cannot take. The checks look at shapes alone, so that they trace and compile.

Token ids are values, and to look at them would stop a GPU and break a graph. On the CPU torch itself refuses an id
that has no embedding; only then is it looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, get_args

import torch
from torch import Tensor

from registry_core.errors import InputError

if TYPE_CHECKING:
    from registry_core.config import TextConfig, VisionConfig

_States = TypeVar("_States")
_ID_TYPES = (torch.int64, torch.int32)


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
    """Refuse anything but [N, L] with L from 1 to the context length.

    Raises:
        InputError: another number of dimensions or type, no tokens, or more of them.
    """
    if text.ndim != 2 or not 0 < text.shape[1] <= context_length:  # noqa: PLR2004 - N, L
        raise InputError(
            f"The text tower takes token ids of shape [N, L] with L from 1 to {context_length}, got "
            f"{list(text.shape)}. Truncate the texts, or create the model with a larger `context_length=`."
        )
    if text.dtype not in _ID_TYPES:
        raise InputError(
            f"The text tower takes token ids of type int64 or int32, got {text.dtype}. "
            "`registry.tokenizer(model)` makes such ids."
        )


def unknown_pooling(pool_type: str, config: type[VisionConfig | TextConfig]) -> InputError:
    """What to say of a `pool_type` that was set on a tower and that no config could have."""
    known = get_args(config.model_fields["pool_type"].annotation)
    return InputError(
        f"pool_type={pool_type!r} was set on a tower; expected one of {', '.join(known)}. Nothing was computed."
    )


def embed_ids(embed: Callable[[Tensor], _States], text: Tensor, vocab_size: int) -> _States:
    """What `embed` makes of token ids; an id beyond the vocabulary is told apart from other failures.

    Args:
        embed: from ids [N, L] to states.
        text: ids [N, L].
        vocab_size: the first id that has no embedding.

    Raises:
        InputError: ids beyond the vocabulary, on the CPU; elsewhere torch's own assertion says so.
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
            f"to {high}. Nothing was computed. The ids are another tokenizer's; `registry.tokenizer(model)` is the "
            "model's own."
        ) from error
