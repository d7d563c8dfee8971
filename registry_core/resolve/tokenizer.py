"""The tokenizer of a model or a name, with the caller's overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.fetch.settings import Settings
from registry_core.report import report_of
from registry_core.resolve.services import Services
from registry_core.tokenizers.make import make_tokenizer, with_overrides

if TYPE_CHECKING:
    from torch import Tensor, nn


def resolve_tokenizer(
    services: Services, model: nn.Module | str, cache_dir: Path | None, overrides: Mapping[str, Any]
) -> Callable[[str | list[str]], Tensor]:
    """Return the tokenizer of a created model or of a name.

    Raises:
        RegistryError: As for `Registry.tokenizer`.
    """
    found = services.resolve(model, cache_dir) if isinstance(model, str) else report_of(model)
    name, config, repository = found.name, found.config, found.home
    if overrides:
        config = services.claim(with_overrides(config, overrides), f"the tokenizer of {name}").config
    if "hf_tokenizer_name" in overrides:
        repository = None  # the caller's argument wins over the files in the model repository
    own = services.own_tokenizer(config)
    if own is not None:
        return own
    return make_tokenizer(config.text_cfg, repository, cache_dir, offline=bool(Settings.load().offline))
