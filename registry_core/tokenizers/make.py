"""Which tokenizer a config and the caller's words make."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from registry_core.config import ModelConfig, merged
from registry_core.errors import ConfigError, OverrideError, did_you_mean
from registry_core.fetch.settings import Settings
from registry_core.strict import StrictModel, describe_problems
from registry_core.tokenizers.base import Tokenizer
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.huggingface import HFOptions, HFTokenizer, has_tokenizer
from registry_core.tower_configs import HFTextConfig, TextTowerConfig
from registry_core.weights import LocalFile

if TYPE_CHECKING:
    from torch import Tensor, nn

    from registry_core.companions import Companions
    from registry_core.home import Home

_Options = TypeVar("_Options", bound=StrictModel)

OF_TEXT_CONFIG = ("context_length", "hf_tokenizer_name", "tokenizer_mode")
MODES = ("", "clips")


def tokenizer_of(
    registry: Companions, model: nn.Module | str, cache_dir: Path | None, overrides: Mapping[str, Any]
) -> Callable[[str | list[str]], Tensor]:
    """The tokenizer of a created model or of a name.

    Raises:
        RegistryError: what `Registry.tokenizer` says.
    """
    if isinstance(model, str):
        resolved = registry.services.resolve(model, cache_dir)
        name, config, home = resolved.name, resolved.config, resolved.home
    else:
        report = registry.report(model)
        name, config, home = report.name, report.config, report.home
    if overrides:
        config = registry.services.claim(with_overrides(config, overrides), f"the tokenizer of {name}").config
    if "hf_tokenizer_name" in overrides:
        home = None  # the caller's word comes before the files that lie beside the model
    own = registry.services.own_tokenizer(config)
    if own is not None:
        return own
    return make_tokenizer(config.text_cfg, home, cache_dir, offline=bool(Settings.load().offline))


def with_overrides(config: ModelConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The raw config with the caller's words laid over it: keys of text_cfg, or of its tokenizer_kwargs.

    Raises:
        OverrideError: a key that no tokenizer has.
    """
    known = {*OF_TEXT_CONFIG, *ClipOptions.model_fields, *HFOptions.model_fields}
    for key in overrides:
        if key not in known:
            raise OverrideError(
                f"{key}= is no option of a tokenizer.{did_you_mean(key, known)} The options are "
                f"{', '.join(sorted(known))}. No tokenizer was made."
            )
    text = {key: _plain(value) for key, value in overrides.items() if key in OF_TEXT_CONFIG}
    options = {key: value for key, value in overrides.items() if key not in OF_TEXT_CONFIG}
    raw = config.raw()
    if options:
        text["tokenizer_kwargs"] = {**(config.text_cfg.tokenizer_kwargs or {}), **options}
    return merged(raw, {"text_cfg": text})


def _plain(value: Any) -> Any:
    """A path as JSON has it."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def make_tokenizer(
    config: TextTowerConfig, home: Home | None = None, cache_dir: Path | None = None, *, offline: bool = False
) -> Tokenizer:
    """The tokenizer of a text config.

    Args:
        config: names it, or else means CLIP's.
        home: where the model is from; a folder that has a tokenizer's files comes before the name.
        cache_dir: of the hub's files.
        offline: whether nothing may be fetched.

    Raises:
        BuildError, FetchError: libraries or files that are not there.
        ConfigError: options that do not validate.
    """
    # What the tower of a Hugging Face model takes is known to that tower alone.
    limit = None if isinstance(config, HFTextConfig) else config.vocab_size
    mode, options = config.tokenizer_mode or "", config.tokenizer_kwargs or {}
    if mode not in MODES:
        raise ConfigError(f"text_cfg.tokenizer_mode={mode!r}: expected 'clips' or none. No tokenizer was made.")
    if config.hf_tokenizer_name is None:
        return ClipTokenizer(validated(ClipOptions, options), config.context_length, limit)
    return HFTokenizer(
        _source(config.hf_tokenizer_name, home),
        validated(HFOptions, options),
        config.context_length,
        limit,
        mode="clips" if mode else "",
        cache_dir=cache_dir,
        offline=offline,
    )


def _source(name: str, home: Home | None) -> str:
    """The folder that the model is from, where it has the files; otherwise what the config names."""
    config = None if home is None else home.config
    return str(config.path.parent) if isinstance(config, LocalFile) and has_tokenizer(config.path.parent) else name


def validated(model: type[_Options], options: Mapping[str, Any]) -> _Options:
    """The options of a kind of tokenizer.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigError(describe_problems(error, model, "the tokenizer (text_cfg.tokenizer_kwargs)")) from error
