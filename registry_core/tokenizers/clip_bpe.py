"""CLIP's tokenizer. It cleans texts, splits them into words, and joins the ids of the words into rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from registry_core.config.base import StrictModel
from registry_core.tokenizers.base import ID_SIZE, Tokenizer, pack_ids, single_row, stack_rows, unpack_ids
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries
from registry_core.tokenizers.clip_vocabulary import vocabulary
from registry_core.tokenizers.reduction import REDUCTIONS, Reduction

if TYPE_CHECKING:
    from torch import Tensor


def _tuple_to_list(value: object) -> object:
    """Accept a tuple too, as open_clip does."""
    return list(value) if isinstance(value, tuple) else value


class ClipOptions(StrictModel):
    """What `text_cfg.tokenizer_kwargs` may contain for this tokenizer.

    Attributes:
        clean: How texts are cleaned.
        reduction_mask: How texts that are too long are shortened; an empty string truncates them.
        additional_special_tokens: Further strings that are one token each. Their ids follow those of CLIP.
    """

    clean: Mode = "lower"
    reduction_mask: Literal["", "simple", "random", "shuffle", "syntax"] = ""
    additional_special_tokens: Annotated[list[str] | None, BeforeValidator(_tuple_to_list)] = None


class ClipTokenizer(Tokenizer):
    """CLIP's tokenizer. It returns the same ids as OpenAI's and open_clip's.

    Args:
        options: How texts are cleaned and shortened.
        context_length: Length of each row.
        id_limit: The first id that the model has no embedding for, or None if only the model knows.

    Raises:
        BuildError: A library is not installed.
        ConfigError: A special token is empty, contains white space, or appears twice.
    """

    def __init__(
        self, options: ClipOptions | None = None, context_length: int = 77, id_limit: int | None = None
    ) -> None:
        super().__init__(context_length, id_limit)
        self.options = options or ClipOptions()
        check_libraries()
        self._prepare()

    def _prepare(self) -> None:
        """Set everything that follows from the options."""
        self._clean = CLEANERS[self.options.clean]
        self._vocabulary = vocabulary(tuple(self.options.additional_special_tokens or ()))
        # Looked up once, not for each text.
        self._split, self._ids_of = self._vocabulary.split, self._vocabulary.words.__getitem__
        self.vocab_size = len(self._vocabulary.symbols)
        self.all_special_ids = list(self._vocabulary.special.values())
        self.sot_token_id, self.eot_token_id = self.all_special_ids[:2]
        self._start, self._end = pack_ids([self.sot_token_id]), pack_ids([self.eot_token_id])
        self._reduce: Reduction | None = REDUCTIONS[self.options.reduction_mask]

    def __getstate__(self) -> dict[str, Any]:
        """Return what the tokenizer is made from. The vocabulary is package data and is not pickled."""
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
            reduced = self._reduce(texts, self._encode, length - 2)
            starts = [(self._start + pack_ids(ids))[: size - ID_SIZE] for ids in reduced]
            rows = [(start + self._end).ljust(size, b"\0") for start in starts]
        return stack_rows(rows, length)

    def _row(self, text: str, size: int) -> bytes:
        """Return `size` bytes: start, as many ids of the text as fit, end, and zeros."""
        words = self._split(self._clean(text))
        del words[size // ID_SIZE :]  # each word has at least one id
        row = self._start + b"".join(map(self._ids_of, words))
        return (row[: size - ID_SIZE] + self._end).ljust(size, b"\0")

    def _encode(self, text: str) -> list[int]:
        return unpack_ids(b"".join(map(self._ids_of, self._split(self._clean(text)))))

    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of one row of ids, as it was after cleaning, with a space after each word.

        Args:
            ids: [L], or a list of ids.
            skip_special_tokens: Leave out start, end, and the padding after the end.

        Raises:
            InputError: There is more than one row, or the tokenizer does not have an id.
        """
        row = single_row(ids, self.vocab_size)
        if not skip_special_tokens:
            return self._vocabulary.decode(row)
        if self.eot_token_id in row:
            row = row[: row.index(self.eot_token_id)]
        return self._vocabulary.decode([id_ for id_ in row if id_ not in self.all_special_ids]).strip()
