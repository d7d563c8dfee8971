"""The base class of all tokenizers. It checks texts, lengths and ids; subclasses tokenise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from registry_core.arguments import whole_number
from registry_core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ID_SIZE = 8  # bytes


class Tokenizer(ABC):
    """str | list[str] -> int64 tensor [N, L]. Picklable. Its repr shows its options.

    Args:
        context_length: L, the length of every row.
        id_limit: The first id that the model has no embedding for, or None if only the model knows.

    Attributes:
        vocab_size: Number of ids of this tokenizer.
    """

    vocab_size: int

    def __init__(self, context_length: int, id_limit: int | None = None) -> None:
        self.context_length = context_length
        self.id_limit = id_limit

    def __call__(self, texts: str | Iterable[str], context_length: int | None = None) -> Tensor:
        """Tokenise one text or several. Each row is truncated or padded to the context length.

        Args:
            texts: One text (one row), or several.
            context_length: Length of the rows, instead of the tokenizer's own.

        Raises:
            InputError: The input is not text, the length is not a positive whole number, or the model has no embedding
                for an id.
        """
        length = self.context_length if context_length is None else context_length
        if type(length) is not int or length < 1:
            length = _checked_length(length)
        ids = self._tokenise([texts] if isinstance(texts, str) else _text_list(texts), length)
        # Ids are on the CPU here, where this check is cheap. On an accelerator a wrong id ends the process or reads
        # memory that belongs to other tensors.
        if self.id_limit is not None and self.vocab_size > self.id_limit and ids.numel():
            self._check_highest(int(ids.max()), self.id_limit)
        return ids

    def encode(self, text: str) -> list[int]:
        """Return all ids of one text, without start, end and padding. The context length does not apply.

        Raises:
            InputError: The input is not a string.
        """
        if not isinstance(text, str):
            raise _not_text(text)
        return self._encode(text)

    @abstractmethod
    def _tokenise(self, texts: list[str], length: int) -> Tensor:
        """Texts -> ids [N, length]."""

    @abstractmethod
    def _encode(self, text: str) -> list[int]:
        """Do what `encode` does, for a string."""

    @abstractmethod
    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of one row of ids.

        Args:
            ids: [L], or a list of ids.
            skip_special_tokens: Leave out start, end and what follows the end.

        Raises:
            InputError: There is more than one row, or the tokenizer does not have an id.
        """

    def _check_highest(self, highest: int, limit: int) -> None:
        """Raise an InputError if the model has no embedding for the highest id."""
        if highest >= limit:
            raise InputError(
                f"The texts have token ids up to {highest}, and the model's vocabulary ends at {limit - 1} "
                f"(text_cfg.vocab_size={limit}), while this tokenizer has {self.vocab_size} ids. Nothing was returned.",
                argument="texts",
                expected=f"ids from 0 to {limit - 1}",
                found=highest,
                advice="The model was made for another tokenizer: name it in text_cfg.hf_tokenizer_name, or give the "
                f"model a vocab_size of {self.vocab_size}.",
            )


def pack_ids(ids: Sequence[int]) -> bytes:
    """Return ids as the bytes of an int64 tensor."""
    return array("q", ids).tobytes()


def unpack_ids(packed: bytes) -> list[int]:
    """Return the ids that `pack_ids` was given."""
    return array("q", packed).tolist()


def stack_rows(rows: Sequence[bytes], length: int) -> Tensor:
    """Packed rows of `length` ids each -> [N, length], int64."""
    import torch

    if not rows:
        return torch.zeros((0, length), dtype=torch.int64)
    # One buffer for all rows: making a tensor from lists takes longer than the rest of tokenising a caption. resize_
    # works in place: a view would be a second tensor, which takes as long to make as the first.
    return torch.frombuffer(bytearray().join(rows), dtype=torch.int64).resize_(len(rows), length)


def single_row(ids: Tensor | Sequence[int], vocab_size: int) -> list[int]:
    """Return one row of ids as a list.

    Raises:
        InputError: There is more than one row, or an id is not a whole number below `vocab_size`.
    """
    given: object = ids.tolist() if hasattr(ids, "tolist") else ids
    listed = list(given) if isinstance(given, Iterable) else [None]
    row = [number for item in listed if (number := whole_number(item)) is not None]
    if len(row) < len(listed):
        shape = list(ids.shape) if hasattr(ids, "shape") else given
        raise InputError(
            f"decode takes one row of token ids, [L], got {shape!r:.200}.",
            argument="ids",
            expected="one row of token ids, [L]",
            found=shape,
            advice="Decode a batch row by row.",
        )
    unknown = [item for item in row if not 0 <= item < vocab_size]
    if unknown:
        raise InputError(
            f"This tokenizer does not have the ids {unknown[:5]}; its ids are 0 to {vocab_size - 1}.",
            argument="ids",
            expected=f"ids from 0 to {vocab_size - 1}",
            found=unknown,
        )
    return row


def _checked_length(length: object) -> int:
    number = whole_number(length)
    if number is None or number < 1:
        raise InputError(
            f"context_length={length!r}: expected a positive number of tokens. Nothing was tokenised.",
            argument="context_length",
            expected="a positive number of tokens",
            found=length,
        )
    return number


def _text_list(texts: object) -> list[str]:
    # A numpy array without dimensions has __iter__, but iterating over it fails.
    if isinstance(texts, bytes) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise _not_text(texts)
    given = list(texts)
    for text in given:
        if not isinstance(text, str):
            raise _not_text(text)
    return given


def _not_text(given: object) -> InputError:
    return InputError(
        f"A tokenizer takes a text or a list of texts, got {type(given).__name__} {given!r:.60}. "
        "Nothing was tokenised.",
        argument="texts",
        expected="a text or a list of texts",
        found=given,
    )
