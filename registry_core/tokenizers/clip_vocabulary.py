"""CLIP's byte-pair encoding (Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016).

A text is cut into words by a pattern. The ids of a word do not depend on its neighbours and are kept, as bytes: to join
these is all that most texts need. A word that is new is merged by tiktoken. It merges bytes and knows no end of a word;
a space, which no word holds, stands for it. It takes the two neighbours whose joined text comes first among the tokens,
the published merges the pair that comes first: the same, since each token's own text is merged to that one token, as a
test shows.
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
_WORDS = r"(?i){special}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"
# The same for ASCII, which the standard library searches several times as fast if letters come first and classes need
# not ignore case. White space is what `str.split` takes for it.
_ASCII_WORDS = r"[a-zA-Z]+|[0-9]|'(?i:s|t|re|ve|m|ll|d)|(?i:{special})|[^\t-\r\x1c-\x20a-zA-Z0-9]+"
KEPT_WORDS = 1 << 16
LONGEST_KEPT = 64  # characters


class Vocabulary:
    """Symbols by id, and how texts become ids.

    Attributes:
        symbols: by id.
        special: whole words that are one token -> id.
        words: their ids, shared by all tokenizers of the vocabulary.
    """

    def __init__(self, additional_special_tokens: tuple[str, ...]) -> None:
        regex, _, symbols = _base()
        special = [START, END, *additional_special_tokens]
        self.symbols = [*symbols, *special]
        self.special = dict(zip(special, range(len(symbols), len(self.symbols)), strict=True))
        self.words = Words(self.special)
        any_special = "|".join(map(regex.escape, special))
        self._find = regex.compile(_WORDS.format(special=any_special)).findall
        self._ascii_words: Callable[[str], list[str]] = self._unicode_words
        # A special token may begin as a word does, and goes before it; or have letters whose other case is ASCII.
        if any_special.isascii() and not any(token[0].isalnum() or token[0] == "'" for token in special):
            self._ascii_words = re.compile(_ASCII_WORDS.format(special=any_special), re.ASCII).findall

    def cut(self, text: str) -> list[str]:
        """The words of a cleaned text."""
        return self._ascii_words(text) if text.isascii() else self._unicode_words(text)

    def _unicode_words(self, text: str) -> list[str]:
        words: list[str] = self._find(" ".join(text.split()))
        return words

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that form no character become U+FFFD."""
        special = set(self.special.values())
        parts = [self.symbols[id_].encode() if id_ in special else _bytes_of(self.symbols[id_]) for id_ in ids]
        return b"".join(parts).decode(errors="replace")


class Words(dict[str, bytes]):
    """Word -> its packed ids: words that are tokens, and a bounded number of others that were asked for.

    Args:
        special: whole words that are one token -> id.
    """

    def __init__(self, special: dict[str, int]) -> None:
        super().__init__()
        _, self._merge, symbols = _base()
        # Merging a word that is a token of its own would lead to that token; tests show it for each.
        whole = {symbol.removesuffix(WORD_END): id_ for id_, symbol in enumerate(symbols) if symbol.endswith(WORD_END)}
        known = {word: id_ for word, id_ in whole.items() if word.isascii()} | special
        self._known = {word: packed([id_]) for word, id_ in known.items()}
        self._most = len(known) + KEPT_WORDS
        self.forget()

    def forget(self) -> None:
        """Keep nothing but the words that are tokens."""
        self.clear()
        self.update(self._known)

    def __missing__(self, word: str) -> bytes:
        ids = array("q", self._merge(word + " ")).tobytes()
        if len(word) <= LONGEST_KEPT:
            if len(self) >= self._most:
                self.forget()
            self[word] = ids
        return ids


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
