"""Tokenizers of the transformers library, SigLIP's among them: their files come from a folder or the hub's cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from registry_core.errors import ConfigError, FetchError, InputError
from registry_core.strict import StrictModel
from registry_core.tokenizers.base import Tokenizer, missing_library, packed, row_of, stacked, text_to_encode
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries

if TYPE_CHECKING:
    from torch import Tensor

FILENAMES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model",
)  # fmt: skip


class HFOptions(StrictModel):
    """What `text_cfg.tokenizer_kwargs` may hold for these tokenizers.

    The first three are this library's own. The others go to transformers; nothing else does, since a downloaded config
    must not choose what code runs or what is sent where.

    Attributes:
        clean: how texts are cleaned.
        strip_sep_token: put zeros in the place of separator tokens.
        language: of the texts, for tokenizers that mark it.
    """

    clean: Mode = "whitespace"
    strip_sep_token: bool = False
    language: str | None = None
    revision: str | None = None
    subfolder: str | None = None
    use_fast: bool | None = None
    padding_side: Literal["left", "right"] | None = None
    truncation_side: Literal["left", "right"] | None = None
    add_prefix_space: bool | None = None
    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    do_lower_case: bool | None = None
    extra_ids: int | None = None
    legacy: bool | None = None
    src_lang: str | None = None
    tgt_lang: str | None = None

    def for_transformers(self) -> dict[str, Any]:
        """The keyword arguments that transformers gets."""
        return self.model_dump(exclude={"clean", "strip_sep_token", "language"}, exclude_none=True)


class HFTokenizer(Tokenizer):
    """A tokenizer of transformers; id for id that of open_clip's wrapper.

    Args:
        source: a folder, or a repository of the hub.
        options: how to clean, and what transformers is told.
        context_length: length of each row.
        id_limit: the first id that the model has no embedding for.
        mode: "clips" adds start, end and class tokens itself, the class token in the last place
            (Liu et al. 2024, CLIPS, https://arxiv.org/abs/2411.16828).
        cache_dir: of the hub's files, instead of the usual one.
        offline: whether nothing may be fetched.

    Raises:
        BuildError: a library is not installed.
        FetchError: the files are not there, or cannot be had.
        ConfigError: options that this tokenizer does not take.
    """

    def __init__(
        self,
        source: str,
        options: HFOptions | None = None,
        context_length: int = 77,
        id_limit: int | None = None,
        *,
        mode: Literal["", "clips"] = "",
        cache_dir: Path | None = None,
        offline: bool = False,
    ) -> None:
        super().__init__(context_length, id_limit)
        self.source = source
        self.options = options or HFOptions()
        self.mode = mode
        check_libraries("hf")
        self.tokenizer = _pretrained(source, self.options.for_transformers(), cache_dir, offline=offline)
        self.vocab_size = len(self.tokenizer)
        self._check_special_tokens()
        if self.options.language is not None:
            self._set_language(self.options.language)

    def __repr__(self) -> str:
        mode = f", mode={self.mode!r}" if self.mode else ""
        return (
            f"HFTokenizer({self.source!r}, context_length={self.context_length}, vocab_size={self.vocab_size}, "
            f"clean={self.options.clean!r}{mode})"
        )

    def _tokenise(self, texts: list[str], length: int) -> Tensor:
        import torch

        if not texts:
            return torch.zeros((0, length), dtype=torch.int64)
        cleaned = [self._clean(text) for text in texts]
        if self.mode == "clips":
            return self._with_class_token(cleaned, length)
        self._check_room(length)
        options = {"max_length": length, "padding": "max_length", "truncation": True}
        ids: Tensor = self.tokenizer(cleaned, return_tensors="pt", **options).input_ids
        if self.options.strip_sep_token:
            ids = ids.masked_fill(ids == self.tokenizer.sep_token_id, 0)
        return ids

    def _with_class_token(self, cleaned: list[str], length: int) -> Tensor:
        special = self.tokenizer
        rows = []
        for body in special(cleaned, add_special_tokens=False)["input_ids"]:
            row = [special.bos_token_id, *body[: max(length - 3, 0)], special.eos_token_id][: length - 1]
            rows.append([*row, *[special.pad_token_id] * (length - 1 - len(row)), special.cls_token_id])
        return stacked([packed(row) for row in rows], length)

    def _clean(self, text: str) -> str:
        return " ".join(CLEANERS[self.options.clean](text).split())

    def encode(self, text: str) -> list[int]:
        """The ids of one text, as many as it has, without special tokens.

        Raises:
            InputError: no text.
        """
        ids: list[int] = self.tokenizer(self._clean(text_to_encode(text)), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of one row of ids, as far as the vocabulary keeps it.

        Raises:
            InputError: more than one row, or ids that the tokenizer does not have.
        """
        row = row_of(ids, self.vocab_size)
        text: str = self.tokenizer.decode(row, skip_special_tokens=skip_special_tokens)
        return text.strip() if skip_special_tokens else text

    def save(self, folder: Path) -> None:
        """Write the files that `source` may name."""
        self.tokenizer.save_pretrained(folder)

    def _check_room(self, length: int) -> None:
        """Refuse what transformers does not cut at all, and what would give rows that are too long."""
        needed = self.tokenizer.num_special_tokens_to_add()
        if length < needed:
            raise InputError(
                f"context_length={length}: the tokenizer of {self.source} puts {needed} special tokens around each "
                "text. Nothing was tokenised. Give room for these and the text."
            )

    def _set_language(self, language: str) -> None:
        setter = getattr(self.tokenizer, "set_src_lang_special_tokens", None)
        if setter is None:
            raise ConfigError(
                f"language={language!r}: the {type(self.tokenizer).__name__} of {self.source} marks no languages. "
                "None was set. Leave it out."
            )
        if self.tokenizer.convert_tokens_to_ids(language) in {None, self.tokenizer.unk_token_id}:
            raise ConfigError(
                f"language={language!r}: the tokenizer of {self.source} has no such token. Expected a code such as "
                "'fra_Latn'. None was set."
            )
        # The attribute too: transformers 5 sets the tokens from it again before each text.
        self.tokenizer.src_lang = language
        setter(language)

    def _check_special_tokens(self) -> None:
        needed = {
            "tokenizer_mode='clips'": ("bos_token", "eos_token", "pad_token", "cls_token") if self.mode else (),
            "strip_sep_token=True": ("sep_token",) if self.options.strip_sep_token else (),
            "a fixed context length": ("pad_token",),
        }
        for what, names in needed.items():
            missing = [name for name in names if getattr(self.tokenizer, f"{name}_id") is None]
            if missing:
                raise ConfigError(
                    f"{what} needs {', '.join(names)}, and the tokenizer of {self.source} has no {', '.join(missing)}. "
                    "No tokenizer was made. Take the files that the model was trained with."
                )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    return any((folder / name).is_file() for name in FILENAMES)


def _pretrained(source: str, options: dict[str, Any], cache_dir: Path | None, *, offline: bool) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise missing_library(error, f"The tokenizer {source} needs transformers", "hf") from error
    try:
        folder = Path(source).expanduser()
        where = str(folder) if folder.is_dir() else source
        return AutoTokenizer.from_pretrained(
            where, cache_dir=cache_dir, local_files_only=offline or folder.is_dir(), trust_remote_code=False, **options
        )
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and more for files it cannot take
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        how = "nothing may be fetched (offline)" if offline else "tried: a folder of that name, the hub and its cache"
        raise FetchError(
            f"The tokenizer {source!r} could not be had; {how}. transformers says: {reason} Put its files into a "
            "folder, and name that: registry.tokenizer(model, hf_tokenizer_name='path/to/folder')."
        ) from error
