"""What resolving returns."""

from __future__ import annotations

from dataclasses import dataclass

from registry_core.config.model import ModelConfig
from registry_core.fetch.repository import ModelRepository
from registry_core.fetch.sources import Weights
from registry_core.hooks.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model name or raw config that has been resolved.

    Attributes:
        name: The name as plugins know it.
        config: The validated config.
        plugin: The plugin that provides the name; for a user's config, the plugin that claims it.
        owner: The plugin that owns the architecture: it builds, converts and finishes the model.
        origin: The user's config file, or the module of the plugin.
        qualifier: The plugin that the caller named as `plugin::name`, or None.
        home: The model repository that the name refers to, or None.
    """

    name: str
    config: ModelConfig
    plugin: Plugin
    owner: Plugin
    origin: str
    qualifier: str | None = None
    home: ModelRepository | None = None


@dataclass(frozen=True, slots=True)
class FoundWeights:
    """Weights that were found.

    Attributes:
        weights: Where the bytes are, and what is known about them.
        plugin: The plugin that provides them; None for a path that the core found.
        tagged: For a path, the weights of the tag that `weights_of` named: the path should hold the file of that tag.
    """

    weights: Weights
    plugin: Plugin | None
    tagged: Weights | None = None
