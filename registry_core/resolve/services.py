"""What the core and plugins ask of a registry, behind one object.

A plugin reaches it as `registry.services`. That is how one architecture wraps another without knowing its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from registry_core.config.model import ModelConfig, RawConfig
from registry_core.config.names import ModelName
from registry_core.config.overrides import ResolvedConfig, apply_overrides
from registry_core.errors import PluginError, UnknownModelError
from registry_core.fetch import FetchContext, Fetched, Fetcher, fetch
from registry_core.fetch.cache import cache_folder
from registry_core.fetch.sources import Weights
from registry_core.hooks.calls import HookCalls
from registry_core.hooks.host import PluginHost
from registry_core.hooks.plugin import Plugin
from registry_core.report import report_of
from registry_core.resolve.catalog import Catalog
from registry_core.resolve.lookup import Lookup
from registry_core.resolve.pretrained import Pretrained, find_weights, tag_of
from registry_core.resolve.results import FoundWeights, Resolved

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.losses.options import LossOptions
    from registry_core.protocols import PluginRegistry
    from registry_core.report import LoadReport
    from registry_core.zero_shot.aspects import ImageAspects


class Services:
    """The part of a Registry that rooms below it and plugins use.

    Args:
        registry: Passed to hooks that take a `registry` argument.
        plugins: Modules or objects to use instead of the installed plugins; None means every installed one.

    Attributes:
        catalog: The models and tags that exist.
        calls: Calls to hooks of single plugins.
    """

    def __init__(self, registry: PluginRegistry, plugins: Iterable[object] | None) -> None:
        self._host = PluginHost(plugins)
        self.calls = HookCalls(self._host, registry)
        self.catalog = Catalog(self.calls)
        self._lookup = Lookup(self.calls, self.catalog)

    # Plugins.

    def plugins(self) -> list[Plugin]:
        """Return every plugin, including broken ones and those that are switched off."""
        return list(self._host)

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand.

        Raises:
            PluginError: It does not fit the contract, or its name is taken.
        """
        return self._host.register(plugin, name)

    def owner(self, config: ModelConfig) -> Plugin:
        """Return the plugin that owns the architecture of a config.

        Raises:
            PluginError: There is no such plugin.
        """
        return self._lookup.owner(config)

    def probe_plugins(self) -> None:
        """Call every hook that needs no input, so that a plugin that fails at one of them is known to fail."""
        self.catalog.names()
        self.catalog.tags()
        self.catalog.descriptions()
        for hook in ("fetchers", "public_classes"):
            list(self.calls.tables(hook))  # a generator: asking is in its running

    # Names, configs and weights.

    def resolve(self, name: str, cache_dir: Path | None = None) -> Resolved:
        """Resolve a model name; `cache_dir` is where a config that must be fetched is kept.

        Raises:
            UnknownModelError, ConflictError, ConfigError: As for `Lookup.resolve`.
        """
        return self._lookup.resolve(name, cache_dir)

    def config_of(self, model: nn.Module | str) -> ModelConfig:
        """Return the config of a created model or of a name.

        Raises:
            RegistryError: The model was not made by a registry's `create`, or the name cannot be resolved.
        """
        return self.resolve(model).config if isinstance(model, str) else report_of(model).config

    def base_of(self, derived: str, prefix: str) -> Resolved | None:
        """Resolve the base model of a derived name, or return None if the name lacks the prefix or the base."""
        base = derived.removeprefix(prefix)
        if base == derived:
            return None
        try:
            return self.resolve(base)
        except UnknownModelError:
            return None  # the caller's own error suggests names that resemble the whole name

    def claim(self, raw: RawConfig, origin: str) -> Resolved:
        """Resolve a raw config.

        Raises:
            ConfigError, ConflictError: As for `Lookup.claim`.
        """
        return self._lookup.claim(raw, origin)

    def tags_of(self, model: str) -> list[tuple[str, str]]:
        """Return the (model, tag) pairs of one model.

        Raises:
            UnknownModelError: There is no such model. A model without tags has an empty list.
        """
        name = ModelName.parse(model).name
        found = [pair for pair in self.catalog.tags() if pair[0] == name]
        if not found:
            self.resolve(model)
        return found

    def find_weights(
        self, resolved: Resolved, pretrained: Pretrained | bool | None, weights_of: str | None = None
    ) -> FoundWeights | None:
        """Return the weights that `pretrained` refers to, or None.

        Raises:
            UnknownWeightsError, OverrideError, ConflictError: As for `pretrained.find_weights`.
        """
        return find_weights(self._lookup, self.catalog, resolved, pretrained, weights_of)

    def find_tag(self, name: str, tag: str) -> Weights | None:
        """Return the weights of a model's tag, or None. Paths are not tried."""
        return tag_of(self._lookup, self.resolve(name), tag)

    def tag(self, resolved: Resolved, tag: str) -> Weights | None:
        """Return the weights of a resolved model's tag, or None. Paths are not tried.

        Raises:
            ConflictError: Two plugins provide the tag.
        """
        return tag_of(self._lookup, resolved, tag)

    def fetchers(self) -> dict[str, Fetcher]:
        """Return scheme -> fetcher, from all plugins.

        Raises:
            ConflictError: Two plugins provide a fetcher for one scheme.
        """
        return self._lookup.fetchers()

    def apply_overrides(
        self, config: ModelConfig, found: FoundWeights | None, overrides: Mapping[str, Any]
    ) -> ResolvedConfig:
        """Apply to a config what the weights state, then the caller's overrides.

        Raises:
            OverrideError: An override is not a config key, or has the wrong type.
        """
        weights = found.weights if found else None
        return apply_overrides(config, weights, overrides, lambda raw, origin: self.claim(raw, origin).config)

    def fetch(self, weights: Weights, cache_dir: Path | None = None, context: FetchContext | None = None) -> Fetched:
        """Fetch the first source that can be had, of weights or of any other file.

        Args:
            weights: The sources to try.
            cache_dir: Where downloads are kept, instead of the usual folder.
            context: Settings of the fetch; it names the folder itself.

        Raises:
            FetchError: No source could be fetched.
        """
        return fetch(weights, self.fetchers(), context or FetchContext(cache_folder(cache_dir)))

    def fetch_found(
        self, resolved: Resolved, found: FoundWeights, cache_dir: Path | None = None, **options: Any
    ) -> Fetched:
        """Fetch weights that were found for a model.

        Args:
            resolved: The model, for messages.
            found: Its weights.
            cache_dir: Where downloads are kept, instead of the usual folder.
            **options: Further fields of FetchContext.

        Raises:
            FetchError: No source could be fetched.
        """
        tag = found.weights.tag
        asked = f"{resolved.name} {tag}" if tag else resolved.name
        return self.fetch(found.weights, context=FetchContext(cache_folder(cache_dir), asked=asked, **options))

    def public_class(self, name: str) -> type | None:
        """Return the class that a plugin provides under a name, or None.

        Raises:
            ConflictError: Two plugins provide it.
            PluginError: It cannot be imported from where the plugin says, or it is not a class.
        """
        location = self._lookup.public_classes().get(name)
        if location is None:
            return None
        try:
            found = resolve_name(location)
        except Exception as error:  # the import of a plugin's module may raise anything
            raise PluginError(
                f"The public class {name!r} should be {location!r}, but it cannot be imported: "
                f"{type(error).__name__}: {error}.",
                name=name,
                hook="public_classes",
                advice="Correct the answer to the hook public_classes, or install what the module needs.",
            ) from error
        if not isinstance(found, type):
            raise PluginError(
                f"The public class {name!r}, {location!r}, is a {type(found).__name__}, expected a class.",
                name=name,
                hook="public_classes",
            )
        return found

    # The work of the plugin that owns a config.

    def build(self, config: ModelConfig, tower: str | None) -> nn.Module:
        """Build the module of a config."""
        return self.calls.build_model(self.owner(config), config, tower)

    def convert(self, config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
        """Convert a checkpoint to the parameter names of a config's model.

        Args:
            config: The config of the model to load into.
            trained: The config that the tensors were shaped for.
            state: The checkpoint.

        Raises:
            PluginError: The hook failed or did not return a Conversion.
        """
        return self.calls.convert_state_dict(self.owner(config), config, trained, state)

    def post_load(self, plugin: Plugin, model: nn.Module, report: LoadReport) -> nn.Module | None:
        """Let a plugin finish a loaded model. Returns the replacement for the model, or None.

        Raises:
            PluginError: The hook failed or returned something else.
        """
        return self.calls.post_load(plugin, model, report)

    def own_tokenizer(self, config: ModelConfig) -> Callable[[str | list[str]], Tensor] | None:
        """Return the tokenizer that the owner of a config provides, or None if the core builds it.

        Raises:
            PluginError: The hook failed or did not return a callable.
        """
        return self.calls.build_tokenizer(self.owner(config), config)

    def own_transform(self, config: ModelConfig, *, train: bool) -> Callable[[Image], Tensor] | None:
        """Return the image transform that the owner of a config provides, or None if the core builds it.

        Raises:
            PluginError: The hook failed or did not return a callable.
        """
        return self.calls.build_preprocess(self.owner(config), config, train=train)

    def own_loss(self, config: ModelConfig, options: LossOptions) -> nn.Module | None:
        """Return the loss that the owner of a config provides, or None if the core chooses one.

        Raises:
            PluginError: The hook failed or did not return a module.
            OverrideError: The loss does not have one of the arguments.
        """
        return self.calls.build_loss(self.owner(config), config, options)

    def aspects(self, config: ModelConfig, model: nn.Module) -> ImageAspects | None:
        """Return what a created model predicts for images besides their content, or None.

        Raises:
            PluginError: The hook failed or returned something else.
        """
        return self.calls.build_aspects(self.owner(config), model)
