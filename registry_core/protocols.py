"""What plugins may rely on: the registry as a hook sees it, and the towers and models as the core sees them.

Protocols, not base classes: a third party's classes need not derive from anything here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from registry_core.towers.protocols import ImageTower, TextTower, Tower, TrainableModel, TwoTowerModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.config.model import ModelConfig, RawConfig
    from registry_core.fetch.contract import FetchContext, Fetched
    from registry_core.fetch.sources import Weights
    from registry_core.losses.options import LossOptions

__all__ = [
    "ImageTower",
    "PluginRegistry",
    "PluginServices",
    "ResolvedModel",
    "TextTower",
    "Tower",
    "TrainableModel",
    "TwoTowerModel",
]


class ResolvedModel(Protocol):
    """A model name or raw config that has been resolved."""

    @property
    def name(self) -> str:
        """The name as plugins know it."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The validated config."""
        ...

    @property
    def origin(self) -> str:
        """The file or module that the config is from."""
        ...


class PluginServices(Protocol):
    """The steps that a plugin can hand on to other plugins. A wrapper builds and loads its base model with them."""

    def resolve(self, name: str, cache_dir: Path | None = None) -> ResolvedModel:
        """Resolve a model name; UnknownModelError, ConflictError or ConfigError if that fails."""
        ...

    def base_of(self, derived: str, prefix: str) -> ResolvedModel | None:
        """Resolve the base model of a derived name, or return None if the name lacks the prefix or the base."""
        ...

    def claim(self, raw: RawConfig, origin: str) -> ResolvedModel:
        """Resolve a raw config; ConfigError or ConflictError if that fails."""
        ...

    def find_tag(self, name: str, tag: str) -> Weights | None:
        """Return the weights of a model's tag, or None. Paths are not tried."""
        ...

    def fetch(self, weights: Weights, cache_dir: Path | None = None, context: FetchContext | None = None) -> Fetched:
        """Fetch the first source that is available; FetchError if no source is."""
        ...

    def build(self, config: ModelConfig, tower: str | None) -> nn.Module:
        """Build the module of a config, by the plugin that owns the config."""
        ...

    def convert(self, config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
        """Convert a checkpoint to the parameter names of a config's model, by the plugin that owns the config."""
        ...

    def own_tokenizer(self, config: ModelConfig) -> Callable[[str | list[str]], Tensor] | None:
        """Return the tokenizer that the owner of a config provides, or None."""
        ...

    def own_transform(self, config: ModelConfig, *, train: bool) -> Callable[[Image], Tensor] | None:
        """Return the image transform that the owner of a config provides, or None."""
        ...

    def own_loss(self, config: ModelConfig, options: LossOptions) -> nn.Module | None:
        """Return the loss that the owner of a config provides, or None."""
        ...


class PluginRegistry(Protocol):
    """The `registry` argument of a hook."""

    @property
    def services(self) -> PluginServices:
        """What a plugin may ask of other plugins."""
        ...
