"""The tokenizer that a text config asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from registry_core.config.base import StrictModel, config_error
from registry_core.config.model import ModelConfig, merged
from registry_core.config.towers import HFTextConfig, TextTowerConfig
from registry_core.errors import ConfigError, OverrideError, close_names, did_you_mean
from registry_core.fetch.sources import LocalFile
from registry_core.tokenizers.base import Tokenizer
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.huggingface import HFOptions, HFTokenizer, has_tokenizer

if TYPE_CHECKING:
    from registry_core.fetch.repository import ModelRepository

_Options = TypeVar("_Options", bound=StrictModel)

MODES = ("", "clips")
# Options of a tokenizer that are keys of text_cfg. All other options are keys of text_cfg.tokenizer_kwargs.
_TEXT_CONFIG_KEYS = ("context_length", "hf_tokenizer_name", "tokenizer_mode")


def with_overrides(config: ModelConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the raw config with the caller's overrides: keys of text_cfg, or of its tokenizer_kwargs.

    Raises:
        OverrideError: No tokenizer has such an option.
    """
    known = {*_TEXT_CONFIG_KEYS, *ClipOptions.model_fields, *HFOptions.model_fields}
    for key in overrides:
        if key not in known:
            raise OverrideError(
                f"{key}= is not an option of a tokenizer.{did_you_mean(key, known)} The options are "
                f"{', '.join(sorted(known))}. No tokenizer was made.",
                name=key,
                argument=key,
                expected=sorted(known),
                suggestions=close_names(key, known),
            )
    text = {key: _plain(value) for key, value in overrides.items() if key in _TEXT_CONFIG_KEYS}
    options = {key: value for key, value in overrides.items() if key not in _TEXT_CONFIG_KEYS}
    raw = config.raw()
    if options:
        text["tokenizer_kwargs"] = {**(config.text_cfg.tokenizer_kwargs or {}), **options}
    return merged(raw, {"text_cfg": text})


def _plain(value: Any) -> Any:
    """Return a path as a string, for JSON, and any other value as it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def make_tokenizer(
    config: TextTowerConfig,
    repository: ModelRepository | None = None,
    cache_dir: Path | None = None,
    *,
    offline: bool = False,
) -> Tokenizer:
    """Make the tokenizer of a text config.

    Args:
        config: Names the tokenizer. Without a name, CLIP's is used.
        repository: The model repository that the model was loaded from. A folder that contains tokenizer files takes
            precedence over the name.
        cache_dir: Where the hub's files are cached, or None for the usual folder.
        offline: Do not fetch anything.

    Raises:
        BuildError: A library is not installed.
        FetchError: The tokenizer's files do not exist, or cannot be fetched or read.
        ConfigError: The options do not validate.
    """
    # Only the tower of a Hugging Face model knows how many ids it takes.
    limit = None if isinstance(config, HFTextConfig) else config.vocab_size
    mode, options = config.tokenizer_mode or "", config.tokenizer_kwargs or {}
    if mode not in MODES:
        raise ConfigError(
            f"text_cfg.tokenizer_mode={mode!r}: expected 'clips' or no mode. No tokenizer was made.",
            name="tokenizer_mode",
            expected=MODES,
            found=mode,
        )
    if config.hf_tokenizer_name is None:
        return ClipTokenizer(validate_options(ClipOptions, options), config.context_length, limit)
    return HFTokenizer(
        _source(config.hf_tokenizer_name, repository),
        validate_options(HFOptions, options),
        config.context_length,
        limit,
        mode="clips" if mode else "",
        cache_dir=cache_dir,
        offline=offline,
    )


def _source(name: str, repository: ModelRepository | None) -> str:
    """Return the model's own folder if it contains tokenizer files, else the name from the config."""
    config = None if repository is None else repository.config
    return str(config.path.parent) if isinstance(config, LocalFile) and has_tokenizer(config.path.parent) else name


def validate_options(model: type[_Options], options: Mapping[str, Any]) -> _Options:
    """Validate the options of one kind of tokenizer.

    Raises:
        ConfigError: There is an unknown key, or a value of the wrong type.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        raise config_error(error, model, "the tokenizer (text_cfg.tokenizer_kwargs)") from error
