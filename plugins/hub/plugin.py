"""The hooks of hub. The plugin owns no architecture: the owner of the config that it reads builds the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_core import UnknownModelError, Weights, hookimpl
from registry_core.config import read_raw
from registry_core.fetch import CONFIG_FILENAME, AbsentError

from .config import HubRepository, LocalFolder, model_repository

if TYPE_CHECKING:
    from registry_core import ModelConfig, PluginRegistry, RawConfig


@hookimpl
def resolve_config(
    name: str, raw: RawConfig | None, registry: PluginRegistry, cache_dir: Path | None
) -> ModelConfig | None:
    repository = None if raw is not None else model_repository(name)
    if repository is None:
        return None
    try:
        path = registry.services.fetch(Weights((repository.config,)), cache_dir).path
    except AbsentError as error:
        raise UnknownModelError(
            f"{name!r} has no {CONFIG_FILENAME}: {error}",
            name=name,
            expected=CONFIG_FILENAME,
            advice="Check the repository's name and revision. Repositories of other libraries are not read.",
        ) from error
    return registry.services.claim(read_raw(path), str(repository.config)).config


@hookimpl
def resolve_home(name: str) -> LocalFolder | HubRepository | None:
    return model_repository(name)
