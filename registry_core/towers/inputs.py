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


def check_image(image: object, size: tuple[int, int] | None) -> None:
    """Refuse anything but [N, 3, height, width] of the tower's size; None means any.

    Raises:
        InputError: no tensor of floating-point numbers, or another number of dimensions, channels or pixels.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = f"a tensor of {image.dtype}" if isinstance(image, Tensor) else f"a {type(image).__name__}"
        raise InputError(
            f"The image tower takes a tensor of floating-point numbers, got {got}. `registry.preprocess(model)` makes "
            "such tensors of pictures; torch.stack joins them."
        )
    expected = (3, *(image.shape[2:] if size is None else size))
    if image.ndim != 4 or tuple(image.shape[1:]) != expected:  # noqa: PLR2004 - N, C, H, W
        height, width = ("height", "width") if size is None else size
        raise InputError(
            f"The image tower takes pictures of shape [N, 3, {height}, {width}], got {list(image.shape)}. "
            "`registry.preprocess(model)` makes such tensors; `image_size=` at creation fits a model to another size."
        )


def check_text(text: object, longest: int | None) -> None:
    """Refuse anything but [N, L] with L from 1 to `longest`; None means any length.

    Raises:
        InputError: no tensor, another number of dimensions or type, no tokens, or more of them.
    """
    if not isinstance(text, Tensor):
        raise InputError(
            f"The text tower takes a tensor of token ids, got a {type(text).__name__}. `registry.tokenizer(model)` "
            "makes such ids of texts."
        )
    too_long = longest is not None and text.ndim == 2 and text.shape[1] > longest  # noqa: PLR2004 - N, L
    if text.ndim != 2 or text.shape[1] == 0 or too_long:  # noqa: PLR2004 - N, L
        end = "on" if longest is None else f"to {longest}"
        raise InputError(
            f"The text tower takes token ids of shape [N, L] with L from 1 {end}, got {list(text.shape)}. "
            "Truncate the texts, or create the model with a larger `context_length=`."
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
