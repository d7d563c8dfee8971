"""CLIP's byte-pair encoding (Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016).

A text is cleaned, cut at white space, and each piece is cut into words by a pattern that knows no white space; so the
ids of a piece do not depend on its neighbours and are kept, as bytes: to join these is all that most texts need. A word
that is new is merged by the `tokenizers` library.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from registry_core.errors import ConfigError
from registry_core.strict import StrictModel
from registry_core.tokenizers.base import ID_SIZE, Tokenizer, missing_library, packed, padded, row_of, unpacked
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries
from registry_core.tokenizers.reduction import REDUCTIONS, Reduction

if TYPE_CHECKING:
    from torch import Tensor

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
# Letters and digits are those of the `regex` library's Unicode tables, as for the published models. It ignores case by
# Unicode's rules too: 's also finds an apostrophe and a long s.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# The same for ASCII, which the standard library searches twice as fast.
ASCII_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+"
KEPT_PIECES = 1 << 16
LONGEST_KEPT = 64  # characters


class ClipOptions(StrictModel):
    """What `text_cfg.tokenizer_kwargs` may hold for this tokenizer.

    Attributes:
        clean: how texts are cleaned.
        reduction_mask: how texts that are too long lose tokens; empty cuts off their end.
        additional_special_tokens: further texts that are one token each; their ids follow those of CLIP.
    """

    clean: Mode = "lower"
    reduction_mask: Literal["", "simple", "random", "shuffle", "syntax"] = ""
    additional_special_tokens: list[str] | None = None


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
        most = length - 2
        if self._reduce is None:
            rows = [self._start + self._packed(text, most) + self._end for text in texts]
        else:
            rows = [self._start + packed(ids) + self._end for ids in self._reduce(texts, self.encode, most)]
        return padded(rows if most >= 0 else [self._end] * len(rows), length)

    def _packed(self, text: str, most: int) -> bytes:
        """The first ids of a text."""
        pieces, ids_of, most = self._clean(text), self._vocabulary.ids_of, max(most, 0)
        if len(pieces) <= most:
            return ids_of(pieces)[: ID_SIZE * most]
        ids = ids_of(pieces[:most])
        if len(ids) < ID_SIZE * most:  # some pieces have no id
            ids += ids_of(pieces[most:])
        return ids[: ID_SIZE * most]

    def encode(self, text: str) -> list[int]:
        """The ids of one text, as many as it has, without start and end."""
        return unpacked(self._vocabulary.ids_of(self._clean(text)))

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


class Vocabulary:
    """Symbols, merges and the ids of pieces seen so far.

    Attributes:
        symbols: by id.
        special: whole texts that are one token -> id.
        kept: piece of a cleaned text -> its packed ids: words that are tokens, and a bounded number of pieces seen so
            far. Shared by all tokenizers of the vocabulary.
    """

    def __init__(self, additional_special_tokens: tuple[str, ...]) -> None:
        regex, self._merge, symbols = _base()
        special = [START, END, *additional_special_tokens]
        self.symbols = [*symbols, *special]
        self.special = dict(zip(special, range(len(symbols), len(self.symbols)), strict=True))
        every = packed(range(len(self.symbols)))
        self._each = [every[at : at + ID_SIZE] for at in range(0, len(every), ID_SIZE)]
        # Merging a word that is a token of its own would lead to that token; tests show it for each.
        self._whole = {s.removesuffix(WORD_END): self._each[i] for i, s in enumerate(symbols) if s.endswith(WORD_END)}
        self._whole |= {word: self._each[id_] for word, id_ in self.special.items() if word.isascii()}
        # Else one of them may be found within any word.
        self._letters_are_words = not any(map(str.isalpha, special))
        self._has_no_other_special = not additional_special_tokens
        self.kept: dict[str, bytes] = {}
        self.forget()
        any_special = "|".join(map(regex.escape, special))
        self._words = regex.compile(f"{any_special}|{WORDS}", regex.IGNORECASE).findall
        self._ascii_words = self._words  # a special token may have letters whose other case is ASCII
        if any_special.isascii():
            self._ascii_words = re.compile(f"{any_special}|{ASCII_WORDS}", re.IGNORECASE | re.ASCII).findall

    def forget(self) -> None:
        """Keep nothing but the words that are tokens."""
        self.kept.clear()
        if self._letters_are_words:
            self.kept.update(item for item in self._whole.items() if item[0].isascii() and item[0].isalpha())

    def ids_of(self, pieces: list[str]) -> bytes:
        """The packed ids of pieces, which have no white space."""
        kept = self.kept
        try:
            return b"".join(map(kept.__getitem__, pieces))
        except KeyError:
            return b"".join([kept.get(piece) or self._learn(piece) for piece in pieces])

    def _learn(self, piece: str) -> bytes:
        ids = self._encode(piece)
        if len(piece) <= LONGEST_KEPT:
            if len(self.kept) >= len(self._whole) + KEPT_PIECES:
                self.forget()
            self.kept[piece] = ids
        return ids

    def _encode(self, piece: str) -> bytes:
        each, whole, merge = self._each, self._whole, self._merge
        if not piece.isascii():
            return b"".join([self._encode_word(word) for word in self._words(piece)])
        if piece.isalpha() and self._letters_are_words:
            return b"".join([each[token.id] for token in merge(piece)])
        if self._has_no_other_special:  # what numbers and the ends of sentences are cut into, without a pattern
            if piece.isdigit():
                return b"".join([whole[digit] for digit in piece])
            word, mark = piece[:-1], piece[-1]
            if word.isalpha() and not mark.isalnum():
                return (self.kept.get(word) or self._learn(word)) + whole[mark]
        return b"".join([whole.get(word) or self._encode_word(word) for word in self._ascii_words(piece)])

    def _encode_word(self, word: str) -> bytes:
        if word in self.special:
            return self._each[self.special[word]]
        if not word.isascii() or not word.isprintable():
            word = word.encode().decode("latin-1").translate(_BYTE_SYMBOLS)
        return self._whole.get(word) or b"".join([self._each[token.id] for token in self._merge(word)])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that form no character become U+FFFD."""
        special = set(self.special.values())
        parts = [
            self.symbols[id_].encode()
            if id_ in special
            else self.symbols[id_].removesuffix(WORD_END).translate(_SYMBOL_BYTES).encode("latin-1")
            + (b" " if self.symbols[id_].endswith(WORD_END) else b"")
            for id_ in ids
        ]
        return b"".join(parts).decode(errors="replace")


@lru_cache
def vocabulary(additional_special_tokens: tuple[str, ...] = ()) -> Vocabulary:
    """The vocabulary with these further tokens.

    Raises:
        BuildError: a library is not installed.
        ConfigError: special tokens that no text can hold.
    """
    wrong = [token for token in additional_special_tokens if not token or token.split() != [token]]
    doubled = len({START, END, *additional_special_tokens}) != len(additional_special_tokens) + 2
    if wrong or doubled:
        raise ConfigError(
            f"additional_special_tokens={list(additional_special_tokens)!r}: each must be a text of its own, without "
            "white space. No tokenizer was made."
        )
    return Vocabulary(additional_special_tokens)


@lru_cache
def _base() -> tuple[Any, Callable[[str], list[Any]], list[str]]:
    """The regex library, what merges the symbols of a word into tokens, and the symbols by id."""
    try:
        import regex
        from tokenizers.models import BPE
    except ImportError as error:
        raise missing_library(error, "CLIP's tokenizer needs tokenizers and regex", "text") from error
    packed = files("registry_core").joinpath("tokenizers", "data", "clip_bpe_merges.txt.gz").read_bytes()
    merges = [
        (left, right)
        for left, _, right in (line.partition(" ") for line in gzip.decompress(packed).decode().splitlines())
    ]
    singles = [_BYTE_SYMBOLS[byte] for byte in _BYTE_ORDER]
    symbols = [*singles, *(symbol + WORD_END for symbol in singles), *map("".join, merges)]
    ids = {symbol: id_ for id_, symbol in enumerate(symbols)}
    # Words are kept here, as packed ids.
    return regex, BPE(ids, merges, end_of_word_suffix=WORD_END, cache_capacity=0).tokenize, symbols


# Merges are written in visible characters: each byte that is none in Latin-1 has a substitute from U+0100 on.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_ORDER = [*_VISIBLE, *(byte for byte in range(256) if byte not in _VISIBLE)]
_BYTE_SYMBOLS = {
    byte: chr(byte) if index < len(_VISIBLE) else chr(256 + index - len(_VISIBLE))
    for index, byte in enumerate(_BYTE_ORDER)
}
_SYMBOL_BYTES = {ord(symbol): chr(byte) for byte, symbol in _BYTE_SYMBOLS.items()}
