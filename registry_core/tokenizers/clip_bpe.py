"""CLIP's tokenizer: texts are cleaned, cut into words, and the ids of the words are joined into rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from registry_core.strict import StrictModel
from registry_core.tokenizers.base import ID_SIZE, Tokenizer, packed, row_of, stacked, text_to_encode, unpacked
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries
from registry_core.tokenizers.clip_vocabulary import vocabulary
from registry_core.tokenizers.reduction import REDUCTIONS, Reduction

if TYPE_CHECKING:
    from torch import Tensor


def _as_list(value: object) -> object:
    """open_clip takes a tuple too."""
    return list(value) if isinstance(value, tuple) else value


class ClipOptions(StrictModel):
    """What `text_cfg.tokenizer_kwargs` may hold for this tokenizer.

    Attributes:
        clean: how texts are cleaned.
        reduction_mask: how texts that are too long lose tokens; empty cuts off their end.
        additional_special_tokens: further texts that are one token each; their ids follow those of CLIP.
    """

    clean: Mode = "lower"
    reduction_mask: Literal["", "simple", "random", "shuffle", "syntax"] = ""
    additional_special_tokens: Annotated[list[str] | None, BeforeValidator(_as_list)] = None


class ClipTokenizer(Tokenizer):
    """CLIP's tokenizer; id for id that of OpenAI's and open_clip's.

    Args:
        options: how to clean, and how to shorten.
        context_length: length of each row.
        id_limit: the first id that the model has no embedding for.

    Raises:
        BuildError: a library is not installed.
        ConfigError: special tokens that no text can hold.
    """

    def __init__(
        self, options: ClipOptions | None = None, context_length: int = 77, id_limit: int | None = None
    ) -> None:
        super().__init__(context_length, id_limit)
        self.options = options or ClipOptions()
        check_libraries()
        self._prepare()

    def _prepare(self) -> None:
        self._clean = CLEANERS[self.options.clean]
        self._vocabulary = vocabulary(tuple(self.options.additional_special_tokens or ()))
        self._cut, self._ids_of = self._vocabulary.cut, self._vocabulary.words.__getitem__
        self.vocab_size = len(self._vocabulary.symbols)
        self.all_special_ids = list(self._vocabulary.special.values())
        self.sot_token_id, self.eot_token_id = self.all_special_ids[:2]
        self._start, self._end = packed([self.sot_token_id]), packed([self.eot_token_id])
        self._reduce: Reduction | None = REDUCTIONS[self.options.reduction_mask]

    def __getstate__(self) -> dict[str, Any]:
        """What makes it again: the vocabulary is package data."""
        return {"context_length": self.context_length, "id_limit": self.id_limit, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __repr__(self) -> str:
        how = f"clean={self.options.clean!r}"
        if self.options.reduction_mask:
            how += f", reduction_mask={self.options.reduction_mask!r}"
        return f"ClipTokenizer(context_length={self.context_length}, vocab_size={self.vocab_size}, {how})"

    def _tokenise(self, texts: list[str], length: int) -> Tensor:
        size = ID_SIZE * length
        if self._reduce is None:
            rows = [self._row(text, size) for text in texts]
        else:
            reduced = self._reduce(texts, self.encode, length - 2)
            begun = [(self._start + packed(ids))[: size - ID_SIZE] for ids in reduced]
            rows = [(row + self._end).ljust(size, b"\0") for row in begun]
        return stacked(rows, length)

    def _row(self, text: str, size: int) -> bytes:
        """Start, as many ids of a text as fit, end, and zeros."""
        words = self._cut(self._clean(text))
        del words[size // ID_SIZE :]  # no word has less than one id
        row = self._start + b"".join(map(self._ids_of, words))
        return (row[: size - ID_SIZE] + self._end).ljust(size, b"\0")

    def encode(self, text: str) -> list[int]:
        """The ids of one text, as many as it has, without start and end.

        Raises:
            InputError: no text.
        """
        return unpacked(b"".join(map(self._ids_of, self._cut(self._clean(text_to_encode(text))))))

    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of one row of ids, as cleaning left it, with a space after each word.

        Args:
            ids: [L], or a list of ids.
            skip_special_tokens: leave out start, end, and the padding that follows it.

        Raises:
            InputError: more than one row, or ids that the tokenizer does not have.
        """
        row = row_of(ids, self.vocab_size)
        if not skip_special_tokens:
            return self._vocabulary.decode(row)
        if self.eot_token_id in row:
            row = row[: row.index(self.eot_token_id)]
        return self._vocabulary.decode([id_ for id_ in row if id_ not in self.all_special_ids]).strip()
