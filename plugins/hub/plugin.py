"""The hooks of hub. It owns no architecture: the config that it reads is claimed by whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry_core import UnknownModelError, Weights, hookimpl
from registry_core.checkpoint.save import CONFIG_FILENAME
from registry_core.fetch.contract import AbsentError
from registry_core.user_configs import read_raw

from .config import HubRepository, LocalFolder, place_of

if TYPE_CHECKING:
    from registry_core import ModelConfig, RawConfig, Registry


@hookimpl
def resolve_config(name: str, raw: RawConfig | None, registry: Registry, cache_dir: Path | None) -> ModelConfig | None:
    place = None if raw is not None else place_of(name)
    if place is None:
        return None
    try:
        path = registry.services.fetch(Weights((place.config,)), cache_dir).path
    except AbsentError as error:
        raise UnknownModelError(
            f"{name!r} has no {CONFIG_FILENAME}: {error} Check the repository's name and revision; of other libraries' "
            "repositories none is read."
        ) from error
    return registry.services.claim(read_raw(path), str(place.config)).config


@hookimpl
def resolve_home(name: str) -> LocalFolder | HubRepository | None:
    return place_of(name)
