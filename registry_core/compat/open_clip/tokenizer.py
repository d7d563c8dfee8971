"""Tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.errors import OverrideError
from registry_core.fetch.settings import Settings
from registry_core.tokenizers import huggingface
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.make import MODES, validate_options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DEFAULT_CONTEXT_LENGTH", "HFTokenizer", "SimpleTokenizer", "decode", "tokenize"]

DEFAULT_CONTEXT_LENGTH = 77


class SimpleTokenizer(ClipTokenizer):
    """CLIP's tokenizer.

    Args:
        bpe_path: Not supported: the merges are always CLIP's.
        additional_special_tokens: Strings that are one token each.
        context_length: Length of each row.
        clean: "lower", "whitespace" or "canonicalize".
        reduction_mask: How texts that are too long are shortened: "simple", "random", "shuffle" or "syntax". An empty
            string truncates them.

    Raises:
        OverrideError: `bpe_path` is given.
        ConfigError: An option does not validate.
        BuildError: A library is not installed.
    """

    def __init__(
        self,
        bpe_path: str | None = None,
        additional_special_tokens: list[str] | None = None,
        context_length: int | None = DEFAULT_CONTEXT_LENGTH,
        clean: str = "lower",
        reduction_mask: str = "",
    ) -> None:
        if bpe_path is not None:
            raise OverrideError(
                f"bpe_path={bpe_path!r}: this tokenizer supports CLIP's merges only. No tokenizer was made.",
                argument="bpe_path",
                found=bpe_path,
                advice="Leave it out. The config of a model with another vocabulary names its tokenizer "
                "(text_cfg.hf_tokenizer_name).",
            )
        options = {
            "additional_special_tokens": additional_special_tokens,
            "clean": clean,
            "reduction_mask": reduction_mask or "",
        }
        super().__init__(validate_options(ClipOptions, options), context_length or DEFAULT_CONTEXT_LENGTH)

    @classmethod
    def of(cls, tokenizer: ClipTokenizer) -> SimpleTokenizer:
        """Return the same tokenizer as an instance of this class."""
        made = cls.__new__(cls)
        made.__setstate__(tokenizer.__getstate__())
        return made

    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of ids [L]. Start, end and padding are included by default, as in open_clip."""
        return super().decode(ids, skip_special_tokens=skip_special_tokens)

    @property
    def encoder(self) -> dict[str, int]:
        """Symbol -> id."""
        return {symbol: id_ for id_, symbol in enumerate(self._vocabulary.symbols)}

    @property
    def decoder(self) -> dict[int, str]:
        """Id -> symbol."""
        return dict(enumerate(self._vocabulary.symbols))


class HFTokenizer(huggingface.HFTokenizer):
    """A tokenizer of transformers.

    Args:
        tokenizer_name: A folder, or a repository on the hub.
        context_length: Length of each row.
        clean: "lower", "whitespace" or "canonicalize".
        strip_sep_token: Replace separator tokens with zeros.
        language: Language of the texts, for tokenizers that mark it.
        cache_dir: Where the hub's files are cached.
        tokenizer_mode: "clips", or None.
        **kwargs: Options for transformers: the fields of HFOptions.

    Raises:
        OverrideError: The tokenizer_mode is another one.
        BuildError, FetchError, ConfigError: As for `registry_core.tokenizers.huggingface.HFTokenizer`.
    """

    def __init__(
        self,
        tokenizer_name: str,
        context_length: int | None = DEFAULT_CONTEXT_LENGTH,
        clean: str = "whitespace",
        strip_sep_token: bool = False,
        language: str | None = None,
        cache_dir: str | None = None,
        tokenizer_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        if (tokenizer_mode or "") not in MODES:
            raise OverrideError(
                f"tokenizer_mode={tokenizer_mode!r}: expected 'clips' or no mode. No tokenizer was made.",
                argument="tokenizer_mode",
                expected=MODES,
                found=tokenizer_mode,
                advice="Correct it, or leave it out.",
            )
        own = {"clean": clean, "strip_sep_token": strip_sep_token, "language": language}
        super().__init__(
            str(tokenizer_name),
            validate_options(huggingface.HFOptions, {**own, **kwargs}),
            context_length or DEFAULT_CONTEXT_LENGTH,
            mode="clips" if tokenizer_mode else "",
            cache_dir=None if cache_dir is None else Path(cache_dir),
            offline=bool(Settings.load().offline),
        )

    @classmethod
    def of(cls, tokenizer: huggingface.HFTokenizer) -> HFTokenizer:
        """Return the same tokenizer as an instance of this class."""
        made = cls.__new__(cls)
        made.__dict__.update(vars(tokenizer))
        return made

    def set_language(self, src_lang: str) -> None:
        """Set the language of all texts that are tokenised from now on.

        Raises:
            ConfigError: The tokenizer does not mark languages, or does not know this one.
        """
        self._set_language(src_lang)

    def save_pretrained(self, dest: str | Path) -> None:
        """Write the tokenizer's files into a folder."""
        self.save(Path(dest))


def tokenize(texts: str | list[str], context_length: int = DEFAULT_CONTEXT_LENGTH) -> Tensor:
    """Tokenise texts with CLIP's tokenizer. Returns ids [N, context_length], int64."""
    tokenizer: SimpleTokenizer = __getattr__("_tokenizer")
    return tokenizer(texts, context_length)


def decode(output_ids: Tensor) -> str:
    """Return the text of ids [L], with start, end and padding."""
    tokenizer: SimpleTokenizer = __getattr__("_tokenizer")
    return tokenizer.decode(output_ids)


def __getattr__(name: str) -> Any:
    if name != "_tokenizer":  # programs import this name
        raise AttributeError(f"{__name__} has no {name!r}")
    return globals().setdefault(name, SimpleTokenizer())
