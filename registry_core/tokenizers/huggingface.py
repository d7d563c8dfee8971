"""Tokenizers of the transformers library, such as SigLIP's. Their files are in a folder or on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from registry_core.config.base import StrictModel
from registry_core.errors import ConfigError, FetchError, InputError, missing_library
from registry_core.tokenizers.base import Tokenizer, pack_ids, single_row, stack_rows
from registry_core.tokenizers.cleaning import CLEANERS, Mode, check_libraries

if TYPE_CHECKING:
    from torch import Tensor

FILENAMES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model",
)  # fmt: skip


class HFOptions(StrictModel):
    """What `text_cfg.tokenizer_kwargs` may contain for these tokenizers.

    The first three options are this library's own. The others are passed to transformers. No other option is passed,
    since a downloaded config must not choose which code runs or what is sent where.

    Attributes:
        clean: How texts are cleaned.
        strip_sep_token: Replace separator tokens with zeros.
        language: Language of the texts, for tokenizers that mark it.
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
        """Return the keyword arguments for transformers."""
        return self.model_dump(exclude={"clean", "strip_sep_token", "language"}, exclude_none=True)


class HFTokenizer(Tokenizer):
    """A tokenizer of transformers. It returns the same ids as open_clip's wrapper.

    Args:
        source: A folder, or a repository on the hub.
        options: How texts are cleaned, and options for transformers.
        context_length: Length of each row.
        id_limit: The first id that the model has no embedding for, or None if only the model knows.
        mode: "clips" adds start, end and class tokens itself, with the class token at the end of the row
            (Liu et al. 2024, CLIPS, https://arxiv.org/abs/2411.16828).
        cache_dir: Where the hub's files are cached, or None for the usual folder.
        offline: Do not fetch anything.

    Raises:
        BuildError: A library is not installed.
        FetchError: The files do not exist, or cannot be fetched or read.
        ConfigError: This tokenizer does not support an option.
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
        self._check_length(length)
        options = {"max_length": length, "padding": "max_length", "truncation": True}
        ids: Tensor = self.tokenizer(cleaned, return_tensors="pt", **options).input_ids
        if self.options.strip_sep_token:
            ids = ids.masked_fill(ids == self.tokenizer.sep_token_id, 0)
        return ids

    def _with_class_token(self, cleaned: list[str], length: int) -> Tensor:
        """Return rows of start, text, end, padding and class token."""
        special = self.tokenizer
        rows = []
        for body in special(cleaned, add_special_tokens=False)["input_ids"]:
            row = [special.bos_token_id, *body[: max(length - 3, 0)], special.eos_token_id][: length - 1]
            rows.append([*row, *[special.pad_token_id] * (length - 1 - len(row)), special.cls_token_id])
        return stack_rows([pack_ids(row) for row in rows], length)

    def _clean(self, text: str) -> str:
        return " ".join(CLEANERS[self.options.clean](text).split())

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(self._clean(text), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Tensor | Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of one row of ids, as far as the vocabulary preserves it.

        Raises:
            InputError: There is more than one row, or the tokenizer does not have an id.
        """
        row = single_row(ids, self.vocab_size)
        text: str = self.tokenizer.decode(row, skip_special_tokens=skip_special_tokens)
        return text.strip() if skip_special_tokens else text

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder, which can then be used as `source`."""
        self.tokenizer.save_pretrained(folder)

    def _check_length(self, length: int) -> None:
        """Raise an InputError for a length without room for the special tokens; transformers would exceed it."""
        needed = self.tokenizer.num_special_tokens_to_add()
        if length < needed:
            raise InputError(
                f"context_length={length}: the tokenizer of {self.source} puts {needed} special tokens around each "
                "text. Nothing was tokenised.",
                name=self.source,
                argument="context_length",
                expected=f"{needed} or more",
                found=length,
                advice="Give a length with room for the special tokens and the text.",
            )

    def _set_language(self, language: str) -> None:
        set_special_tokens = getattr(self.tokenizer, "set_src_lang_special_tokens", None)
        if set_special_tokens is None:
            raise ConfigError(
                f"language={language!r}: the {type(self.tokenizer).__name__} of {self.source} does not mark languages. "
                "No language was set.",
                name=self.source,
                argument="language",
                found=language,
                advice="Leave it out.",
            )
        if self.tokenizer.convert_tokens_to_ids(language) in {None, self.tokenizer.unk_token_id}:
            raise ConfigError(
                f"language={language!r}: the tokenizer of {self.source} does not have this token. Expected a code such "
                "as 'fra_Latn'. No language was set.",
                name=self.source,
                argument="language",
                expected="a code such as 'fra_Latn'",
                found=language,
            )
        # transformers 5 sets the special tokens from this attribute again before each text.
        self.tokenizer.src_lang = language
        set_special_tokens(language)

    def _check_special_tokens(self) -> None:
        needed = {
            "tokenizer_mode='clips'": ("bos_token", "eos_token", "pad_token", "cls_token") if self.mode else (),
            "strip_sep_token=True": ("sep_token",) if self.options.strip_sep_token else (),
            "a fixed context length": ("pad_token",),
        }
        for feature, names in needed.items():
            missing = [name for name in names if getattr(self.tokenizer, f"{name}_id") is None]
            if missing:
                raise ConfigError(
                    f"{feature} needs {', '.join(names)}, and the tokenizer of {self.source} does not have "
                    f"{', '.join(missing)}. No tokenizer was made.",
                    name=self.source,
                    expected=names,
                    found=missing,
                    advice="Use the tokenizer files that the model was trained with.",
                )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder contains the files of a tokenizer."""
    return any((folder / name).is_file() for name in FILENAMES)


def _pretrained(source: str, options: dict[str, Any], cache_dir: Path | None, *, offline: bool) -> Any:
    """Return the tokenizer of transformers for a folder or a repository."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise missing_library(
            error, f"The tokenizer {source} needs transformers", "hf", "No tokenizer was made."
        ) from error
    try:
        folder = Path(source).expanduser()
        where = str(folder) if folder.is_dir() else _cached_folder(source, cache_dir) if offline else source
        return AutoTokenizer.from_pretrained(
            where, cache_dir=cache_dir, local_files_only=offline or folder.is_dir(), trust_remote_code=False, **options
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # of transformers anything; a panic of `tokenizers` is not even an Exception
        raise _not_loaded(source, error, offline=offline) from error


def _cached_folder(repository: str, cache_dir: Path | None) -> str:
    """Return the folder of a hub repository in the cache of huggingface_hub.

    Offline, transformers gets this folder instead of the name: for a name it asks the hub, even with local_files_only.
    """
    from huggingface_hub import snapshot_download

    return str(snapshot_download(repository, cache_dir=cache_dir, local_files_only=True))


def _not_loaded(source: str, error: BaseException, *, offline: bool) -> FetchError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    tried = (
        "The network may not be used (offline)."
        if offline
        else "A folder of that name, the hub and its cache were tried."
    )
    return FetchError(
        f"The tokenizer {source!r} could not be loaded. {tried} transformers reports: {reason}",
        name=source,
        argument="hf_tokenizer_name",
        found=reason,
        advice="Put its files into a folder, and name the folder: registry.tokenizer(model, "
        "hf_tokenizer_name='path/to/folder').",
    )
