"""CLIP's byte-pair encoding (Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016).

A pattern splits a text into words. The ids of a word do not depend on the words around it. They are cached as bytes, so
that most texts are tokenised by joining cached bytes. tiktoken merges a word that is not in the cache.

tiktoken differs from the published algorithm in two ways, and gives the same ids:

- tiktoken merges bytes and has no symbol for the end of a word. A space stands for it, since no word contains a space.
- The published algorithm merges the pair of symbols that is first in the list of merges. tiktoken merges the pair whose
  joined text is first among the tokens. Both choose the same pair, because the text of each token is merged to that one
  token. A test checks this for every token.
"""

from __future__ import annotations

import gzip
import re
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from registry_core.errors import ConfigError, missing_library
from registry_core.tokenizers.base import pack_ids

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
# Letters and digits are defined by the Unicode tables of the `regex` library, as for the published models. Case is also
# ignored by Unicode's rules: 's matches an apostrophe with a long s, too.
_WORDS = r"(?i){special}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"
# The same pattern for ASCII texts. The standard library searches it several times as fast if letters are first and the
# character classes need not ignore case. White space is defined as in `str.split`.
_ASCII_WORDS = r"[a-zA-Z]+|[0-9]|'(?i:s|t|re|ve|m|ll|d)|(?i:{special})|[^\t-\r\x1c-\x20a-zA-Z0-9]+"
CACHED_WORDS = 1 << 16
LONGEST_CACHED = 64  # characters


class Vocabulary:
    """The symbols by id, and the rules by which texts become ids.

    Attributes:
        symbols: The symbol of each id.
        special: Special token -> its id. A special token is a string that is always one token.
        words: Word -> its packed ids. All tokenizers of the vocabulary share it.
    """

    def __init__(self, additional_special_tokens: tuple[str, ...]) -> None:
        regex, _, symbols = _published()
        special = [START, END, *additional_special_tokens]
        self.symbols = [*symbols, *special]
        self.special = dict(zip(special, range(len(symbols), len(self.symbols)), strict=True))
        self.words = WordIds(self.special)
        any_special = "|".join(map(regex.escape, special))
        self._find = regex.compile(_WORDS.format(special=any_special)).findall
        self._ascii_words: Callable[[str], list[str]] = self._unicode_words
        # The ASCII pattern looks for words before special tokens. It is not used if a special token begins as a word
        # does. Nor is it used for letters beyond ASCII, since the other case of such a letter may be ASCII.
        if any_special.isascii() and not any(token[0].isalnum() or token[0] == "'" for token in special):
            self._ascii_words = re.compile(_ASCII_WORDS.format(special=any_special), re.ASCII).findall

    def split(self, text: str) -> list[str]:
        """Split a cleaned text into words."""
        return self._ascii_words(text) if text.isascii() else self._unicode_words(text)

    def _unicode_words(self, text: str) -> list[str]:
        words: list[str] = self._find(" ".join(text.split()))
        return words

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids. Bytes that do not form a character become U+FFFD."""
        special = set(self.special.values())
        parts = [self.symbols[id_].encode() if id_ in special else _bytes_of(self.symbols[id_]) for id_ in ids]
        return b"".join(parts).decode(errors="replace")


class WordIds(dict[str, bytes]):
    """Word -> its packed ids. Holds every word that is one token, and a cache of limited size for other words.

    Args:
        special: Special token -> its id.
    """

    def __init__(self, special: dict[str, int]) -> None:
        super().__init__()
        _, self._merge, symbols = _published()
        # These words need no merging: it would lead to the token of the whole word. Tests check this for each word.
        whole = {symbol.removesuffix(WORD_END): id_ for id_, symbol in enumerate(symbols) if symbol.endswith(WORD_END)}
        known = {word: id_ for word, id_ in whole.items() if word.isascii()} | special
        self._known = {word: pack_ids([id_]) for word, id_ in known.items()}
        self._limit = len(known) + CACHED_WORDS
        self.forget()

    def forget(self) -> None:
        """Remove all words that are more than one token."""
        self.clear()
        self.update(self._known)

    def __missing__(self, word: str) -> bytes:
        ids = array("q", self._merge(word + " ")).tobytes()
        if len(word) <= LONGEST_CACHED:
            if len(self) >= self._limit:
                self.forget()
            self[word] = ids
        return ids


@lru_cache
def vocabulary(additional_special_tokens: tuple[str, ...] = ()) -> Vocabulary:
    """Return CLIP's vocabulary with additional special tokens.

    Raises:
        BuildError: A library is not installed.
        ConfigError: A special token is empty, contains white space, or appears twice.
    """
    wrong = [token for token in additional_special_tokens if not token or token.split() != [token]]
    repeated = len({START, END, *additional_special_tokens}) != len(additional_special_tokens) + 2
    if wrong or repeated:
        raise ConfigError(
            f"additional_special_tokens={list(additional_special_tokens)!r}: each token must differ from the others "
            "and from CLIP's own, and must contain at least one character and no white space. No tokenizer was made.",
            name="additional_special_tokens",
            expected="different strings without white space",
            found=list(additional_special_tokens),
        )
    return Vocabulary(additional_special_tokens)


@lru_cache
def _published() -> tuple[Any, Callable[[str], list[int]], list[str]]:
    """Return the regex library, a function that merges a word and a space after it into ids, and the symbols by id."""
    try:
        import regex
        from tiktoken import Encoding
    except ImportError as error:
        raise missing_library(
            error, "CLIP's tokenizer needs tiktoken and regex", "text", "No tokenizer was made."
        ) from error
    compressed = files("registry_core").joinpath("tokenizers", "data", "clip_bpe_merges.txt.gz").read_bytes()
    merged = [line.replace(" ", "") for line in gzip.decompress(compressed).decode().splitlines()]
    singles = [_BYTE_SYMBOLS[byte] for byte in _BYTE_ORDER]
    symbols = [*singles, *(symbol + WORD_END for symbol in singles), *merged]
    ranks = {_bytes_of(symbol): id_ for id_, symbol in enumerate(symbols)}
    return regex, Encoding("clip", pat_str="[^ ]+ ", mergeable_ranks=ranks, special_tokens={}).encode_ordinary, symbols


def _bytes_of(symbol: str) -> bytes:
    """Return the bytes that a symbol stands for, with a space for the end of a word."""
    end = b" " if symbol.endswith(WORD_END) else b""
    return symbol.removesuffix(WORD_END).translate(_SYMBOL_BYTES).encode("latin-1") + end


# The merges are written in visible characters. A byte that is not a visible character of Latin-1 is written as a
# character from U+0100 on.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_ORDER = [*_VISIBLE, *(byte for byte in range(256) if byte not in _VISIBLE)]
_BYTE_SYMBOLS = {
    byte: chr(byte) if index < len(_VISIBLE) else chr(256 + index - len(_VISIBLE))
    for index, byte in enumerate(_BYTE_ORDER)
}
_SYMBOL_BYTES = {ord(symbol): chr(byte) for byte, symbol in _BYTE_SYMBOLS.items()}
