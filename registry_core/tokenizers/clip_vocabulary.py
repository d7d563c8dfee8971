"""CLIP's byte-pair encoding (Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016).

Pieces of a text are cut into words by a pattern that knows no white space; so the ids of a piece do not depend on its
neighbours and are kept, as bytes: to join these is all that most texts need. A word that is new is merged by tiktoken.
It merges bytes and knows no end of a word; a space, which no word holds, stands for it. It takes the two neighbours
whose joined text comes first among the tokens, the published merges the pair that comes first: the same, since each
token's own text is merged to that one token, as a test shows.
"""

from __future__ import annotations

import gzip
import re
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from registry_core.errors import ConfigError
from registry_core.tokenizers.base import missing_library, packed

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
# Letters and digits are those of the `regex` library's Unicode tables, as for the published models. It ignores case by
# Unicode's rules too: 's also finds an apostrophe and a long s.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# The same for ASCII, which the standard library searches twice as fast.
ASCII_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+"
KEPT_PIECES = 1 << 16
LONGEST_KEPT = 64  # characters


class Vocabulary:
    """Symbols by id, and the ids of texts.

    Attributes:
        symbols: by id.
        special: whole texts that are one token -> id.
        pieces: their ids, shared by all tokenizers of the vocabulary.
    """

    def __init__(self, additional_special_tokens: tuple[str, ...]) -> None:
        *_, symbols = _base()
        special = [START, END, *additional_special_tokens]
        self.symbols = [*symbols, *special]
        self.special = dict(zip(special, range(len(symbols), len(self.symbols)), strict=True))
        self.pieces = Pieces(self.symbols, self.special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that form no character become U+FFFD."""
        special = set(self.special.values())
        parts = [self.symbols[id_].encode() if id_ in special else _bytes_of(self.symbols[id_]) for id_ in ids]
        return b"".join(parts).decode(errors="replace")


class Pieces(dict[str, bytes]):
    """Piece of a cleaned text -> its packed ids: words that are tokens, and a bounded number of pieces seen so far.

    Args:
        symbols: by id.
        special: whole texts that are one token -> id.
    """

    def __init__(self, symbols: list[str], special: dict[str, int]) -> None:
        super().__init__()
        regex, self._merge, _ = _base()
        # Merging a word that is a token of its own would lead to that token; tests show it for each.
        whole = {symbol.removesuffix(WORD_END): id_ for id_, symbol in enumerate(symbols) if symbol.endswith(WORD_END)}
        self._whole = {word: packed([id_]) for word, id_ in (whole | special).items() if word.isascii()}
        self._special = {word: packed([id_]) for word, id_ in special.items()}
        # Else one of them may be found within any word.
        self._letters_are_words = not any(map(str.isalpha, special))
        self._has_no_other_special = special.keys() == {START, END}
        self._most = len(whole) + KEPT_PIECES
        any_special = "|".join(map(regex.escape, special))
        self._words = regex.compile(f"{any_special}|{WORDS}", regex.IGNORECASE).findall
        self._ascii_words = self._words  # a special token may have letters whose other case is ASCII
        if any_special.isascii():
            self._ascii_words = re.compile(f"{any_special}|{ASCII_WORDS}", re.IGNORECASE | re.ASCII).findall
        self.forget()

    def forget(self) -> None:
        """Keep nothing but the words that are tokens."""
        self.clear()
        if self._letters_are_words:
            self.update(item for item in self._whole.items() if item[0].isalpha())

    def __missing__(self, piece: str) -> bytes:
        if piece.isascii() and piece.isalpha() and self._letters_are_words:
            ids = array("q", self._merge(piece + " ")).tobytes()
        else:
            ids = self._cut(piece)
        if len(piece) <= LONGEST_KEPT:
            if len(self) >= self._most:
                self.forget()
            self[piece] = ids
        return ids

    def _cut(self, piece: str) -> bytes:
        whole = self._whole
        if not piece.isascii():
            return b"".join([self._special.get(word) or self._merged(word) for word in self._words(piece)])
        if self._has_no_other_special:  # what numbers and the ends of sentences are cut into, without a pattern
            if piece.isdigit():
                return b"".join(map(whole.__getitem__, piece))
            word, mark = piece[:-1], piece[-1]
            if word.isalpha() and not mark.isalnum():
                return self[word] + whole[mark]
        return b"".join([whole.get(word) or self._merged(word) for word in self._ascii_words(piece)])

    def _merged(self, word: str) -> bytes:
        return packed(self._merge(word + " "))


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
def _base() -> tuple[Any, Callable[[str], list[int]], list[str]]:
    """The regex library, what merges a word and the space after it into ids, and the symbols by id."""
    try:
        import regex
        from tiktoken import Encoding
    except ImportError as error:
        raise missing_library(error, "CLIP's tokenizer needs tiktoken and regex", "text") from error
    packed = files("registry_core").joinpath("tokenizers", "data", "clip_bpe_merges.txt.gz").read_bytes()
    merged = [line.replace(" ", "") for line in gzip.decompress(packed).decode().splitlines()]
    singles = [_BYTE_SYMBOLS[byte] for byte in _BYTE_ORDER]
    symbols = [*singles, *(symbol + WORD_END for symbol in singles), *merged]
    ranks = {_bytes_of(symbol): id_ for id_, symbol in enumerate(symbols)}
    return regex, Encoding("clip", pat_str="[^ ]+ ", mergeable_ranks=ranks, special_tokens={}).encode_ordinary, symbols


def _bytes_of(symbol: str) -> bytes:
    """What a symbol stands for, with a space for the end of a word."""
    end = b" " if symbol.endswith(WORD_END) else b""
    return symbol.removesuffix(WORD_END).translate(_SYMBOL_BYTES).encode("latin-1") + end


# Merges are written in visible characters: each byte that is none in Latin-1 has a substitute from U+0100 on.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_ORDER = [*_VISIBLE, *(byte for byte in range(256) if byte not in _VISIBLE)]
_BYTE_SYMBOLS = {
    byte: chr(byte) if index < len(_VISIBLE) else chr(256 + index - len(_VISIBLE))
    for index, byte in enumerate(_BYTE_ORDER)
}
_SYMBOL_BYTES = {ord(symbol): chr(byte) for byte, symbol in _BYTE_SYMBOLS.items()}
