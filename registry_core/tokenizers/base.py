"""What every tokenizer does: take texts as people give them, and refuse what the model cannot take."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, SupportsIndex

from registry_core.errors import BuildError, InputError

if TYPE_CHECKING:
    from torch import Tensor

ID_SIZE = 8  # bytes


class Tokenizer(ABC):
    """str | list[str] -> int64 tensor [N, L]. Picklable; printing it says what it does.

    Args:
        context_length: L, the length of every row.
        id_limit: the first id that the model has no embedding for; None where only the model knows.

    Attributes:
        vocab_size: how many ids this tokenizer has.
    """

    vocab_size: int

    def __init__(self, context_length: int, id_limit: int | None = None) -> None:
        self.context_length = context_length
        self.id_limit = id_limit

    def __call__(self, texts: str | Iterable[str], context_length: int | None = None) -> Tensor:
        """Tokenise one text or several; each is truncated or padded to the context length.

        Args:
            texts: one text gives one row.
            context_length: instead of the tokenizer's own.

        Raises:
            InputError: not texts, no length, or ids that the model has no embeddings for.
        """
        length = self.context_length if context_length is None else context_length
        if type(length) is not int or length < 1:
            length = _checked_length(length)
        ids = self._tokenise([texts] if isinstance(texts, str) else _as_list(texts), length)
        # Here, on the CPU, the check is cheap; on an accelerator a wrong id ends the process or reads foreign memory.
        if self.id_limit is not None and self.vocab_size > self.id_limit and ids.numel():
            self._refuse_beyond(int(ids.max()))
        return ids

    @abstractmethod
    def _tokenise(self, texts: list[str], length: int) -> Tensor:
        """Texts -> ids [N, length]."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of one text, as many as it has, without start, end and padding.

        Raises:
            InputError: no text.
        """

    @abstractmethod
    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of one row of ids.

        Args:
            ids: [L], or a list of ids.
            skip_special_tokens: leave out start, end and what follows it.

        Raises:
            InputError: more than one row, or ids that the tokenizer does not have.
        """

    def _refuse_beyond(self, highest: int) -> None:
        if self.id_limit is not None and highest >= self.id_limit:
            raise InputError(
                f"The texts have token ids up to {highest}, and the model's vocabulary ends at {self.id_limit - 1} "
                f"(text_cfg.vocab_size={self.id_limit}), while this tokenizer has {self.vocab_size} ids. Nothing was "
                "returned. The model was made for another tokenizer: name it as text_cfg.hf_tokenizer_name, or give "
                f"the model a vocab_size of {self.vocab_size}."
            )


def packed(ids: Sequence[int]) -> bytes:
    """Ids as the bytes of an int64 tensor."""
    return array("q", ids).tobytes()


def unpacked(ids: bytes) -> list[int]:
    """What `packed` was given."""
    return array("q", ids).tolist()


def stacked(rows: Sequence[bytes], length: int) -> Tensor:
    """Packed rows of `length` ids each -> [N, length], int64."""
    import torch

    if not rows:
        return torch.zeros((0, length), dtype=torch.int64)
    # Through one buffer: a tensor made of lists costs more than all the rest of tokenising a caption. And in place: a
    # view would be a second tensor, and cost as much as the first.
    return torch.frombuffer(bytearray().join(rows), dtype=torch.int64).resize_(len(rows), length)


def row_of(ids: Tensor | Sequence[int], vocab_size: int) -> list[int]:
    """One row of ids, each of the vocabulary.

    Raises:
        InputError: they are not.
    """
    given: object = ids.tolist() if hasattr(ids, "tolist") else ids
    listed = list(given) if isinstance(given, Iterable) else [None]
    row = [number for item in listed if (number := _whole(item)) is not None]
    if len(row) < len(listed):
        shape = list(ids.shape) if hasattr(ids, "shape") else given
        raise InputError(f"decode takes one row of token ids, [L], got {shape!r:.200}. Decode a batch row by row.")
    strangers = [item for item in row if not 0 <= item < vocab_size]
    if strangers:
        raise InputError(f"The ids {strangers[:5]} are not of this tokenizer; its ids are 0 to {vocab_size - 1}.")
    return row


def text_to_encode(given: object) -> str:
    """The one text that `encode` takes.

    Raises:
        InputError: it is none.
    """
    if not isinstance(given, str):
        raise _no_text(given)
    return given


def missing_library(error: ImportError, need: str, extra: str) -> BuildError:
    """The error for a library that an extra brings."""
    return BuildError(
        f"{need}, and {error.name} is not installed. No tokenizer was made. Install it: "
        f"pip install 'registry_core[{extra}]'."
    )


def _checked_length(length: object) -> int:
    whole = _whole(length)
    if whole is None or whole < 1:
        raise InputError(f"context_length={length!r}: expected a positive number of tokens. Nothing was tokenised.")
    return whole


def _as_list(texts: object) -> list[str]:
    # An array of numpy's without dimensions says that it can be iterated over, and cannot.
    if isinstance(texts, bytes) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise _no_text(texts)
    given = list(texts)
    strangers = [text for text in given if not isinstance(text, str)]
    if strangers:
        raise _no_text(strangers[0])
    return given


def _no_text(stranger: object) -> InputError:
    return InputError(
        f"A tokenizer takes a text or a list of texts, got {type(stranger).__name__} {stranger!r:.60}. "
        "Nothing was tokenised."
    )


def _whole(item: object) -> int | None:
    """A whole number of Python, numpy or torch as an int; None for anything else."""
    if type(item) is int:
        return item
    if isinstance(item, bool) or not isinstance(item, SupportsIndex) or getattr(item, "ndim", 0) != 0:
        return None
    try:
        return operator.index(item)
    except TypeError:  # a float in a tensor
        return None
