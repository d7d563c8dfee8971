"""CLIP's byte-pair encoding (Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016).

A text is cleaned, cut at white space, and each piece is cut into words by a pattern that knows no white space; so the
ids of a piece do not depend on its neighbours and are kept. A piece that is new is merged by the `tokenizers` library.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from registry_core.errors import ConfigError
from registry_core.strict import StrictModel
from registry_core.tokenizers.base import Tokenizer, missing_library, padded, row_of
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries
from registry_core.tokenizers.reduction import REDUCTIONS, Reduction

if TYPE_CHECKING:
    from torch import Tensor

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
# Letters and digits are those of the `regex` library's Unicode tables, as for the published models. It ignores case by
# Unicode's rules too: 's also finds an apostrophe and a long s.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
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
        if self._reduce is not None:
            bodies = self._reduce(texts, self.encode, length - 2)
        else:
            bodies = [self._encode(text, length) for text in texts]
        return padded([self._row(body, length) for body in bodies], length)

    def _row(self, body: Sequence[int], length: int) -> list[int]:
        row = [self.sot_token_id, *body]
        del row[length - 1 :]
        row.append(self.eot_token_id)
        return row

    def encode(self, text: str) -> list[int]:
        """The ids of one text, as many as it has, without start and end."""
        return self._encode(text, None)

    def _encode(self, text: str, enough: int | None) -> list[int]:
        """The ids of a text; `enough` allows to stop where there are as many."""
        kept, encode = self._vocabulary.kept, self._vocabulary.encode
        ids: list[int] = []
        for piece in self._clean(text):
            ids += kept.get(piece) or encode(piece)
            if enough is not None and len(ids) >= enough:
                break
        return ids

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
        kept: piece of a cleaned text -> its ids. Bounded, and shared by all tokenizers of the vocabulary.
    """

    def __init__(self, additional_special_tokens: tuple[str, ...]) -> None:
        regex, self._merger, self._ids, symbols = _base()
        special = [START, END, *additional_special_tokens]
        self.symbols = [*symbols, *special]
        self.special = dict(zip(special, range(len(symbols), len(self.symbols)), strict=True))
        self.kept: dict[str, tuple[int, ...]] = {}
        specials = "|".join(map(regex.escape, special))
        self._words = regex.compile(f"{specials}|{WORDS}", regex.IGNORECASE)

    def encode(self, piece: str) -> tuple[int, ...]:
        """The ids of a piece, which has no white space."""
        words = [piece] if piece.isascii() and piece.isalpha() else self._words.findall(piece)
        ids = tuple([id_ for word in words for id_ in self._encode_word(word)])
        if len(piece) <= LONGEST_KEPT:
            if len(self.kept) >= KEPT_PIECES:
                self.kept.clear()
            self.kept[piece] = ids
        return ids

    def _encode_word(self, word: str) -> list[int]:
        if word in self.special:
            return [self.special[word]]
        as_symbols = word.encode().decode("latin-1").translate(_BYTE_SYMBOLS)
        # Merging a word that is a token of its own would lead to that token; tests show it for each.
        whole = self._ids.get(as_symbols + WORD_END)
        return [whole] if whole is not None else [token.id for token in self._merger.tokenize(as_symbols)]

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
def _base() -> tuple[Any, Any, dict[str, int], list[str]]:
    """The regex library, the merger, the ids by symbol and the symbols by id."""
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
    return regex, BPE(ids, merges, end_of_word_suffix=WORD_END), ids, symbols


# Merges are written in visible characters: each byte that is none in Latin-1 has a substitute from U+0100 on.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_ORDER = [*_VISIBLE, *(byte for byte in range(256) if byte not in _VISIBLE)]
_BYTE_SYMBOLS = {
    byte: chr(byte) if index < len(_VISIBLE) else chr(256 + index - len(_VISIBLE))
    for index, byte in enumerate(_BYTE_ORDER)
}
_SYMBOL_BYTES = {ord(symbol): chr(byte) for byte, symbol in _BYTE_SYMBOLS.items()}
