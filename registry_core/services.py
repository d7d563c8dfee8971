"""What a plugin may ask of the registry that asks it: the steps that it hands on to other plugins.

That is how one architecture holds another without knowing whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from registry_core.aspects import PictureAspects, fault_of
from registry_core.cache import cache_folder
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.config import ModelConfig, RawConfig
from registry_core.errors import PluginError, UnknownModelError
from registry_core.fetch import FetchContext, Fetched, fetch
from registry_core.lookup import Lookup, Resolved
from registry_core.plugins import Plugin, PluginHost
from registry_core.tags import tag_of
from registry_core.weights import Weights

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.factory import Registry
    from registry_core.losses.options import LossOptions
    from registry_core.report import LoadReport


class Services:
    """The part of a Registry that plugins use.

    Args:
        registry: handed to hooks that ask for it.
        plugins: modules or objects to use and no others; None means every installed one.
    """

    def __init__(self, registry: Registry, plugins: Iterable[object] | None) -> None:
        self.host = PluginHost(plugins)
        self.lookup = Lookup(self.host, registry)
        self._registry = registry

    def resolve(self, name: str, cache_dir: Path | None = None) -> Resolved:
        """The config of a name, and who owns it; `cache_dir` is where a config that must be fetched is kept.

        Raises:
            UnknownModelError, ConflictError, ConfigError: see Lookup.resolve.
        """
        return self.lookup.resolve(name, cache_dir)

    def base_of(self, derived: str, prefix: str) -> Resolved | None:
        """The base model of a name that a plugin derives by a prefix, or None where the name is not such a one."""
        base = derived.removeprefix(prefix)
        if base == derived:
            return None
        try:
            return self.resolve(base)
        except UnknownModelError:
            return None  # the caller's own error names what is close to the whole name

    def claim(self, raw: RawConfig, origin: str) -> Resolved:
        """The config that a raw config is, and who owns it.

        Raises:
            ConfigError, ConflictError: see Lookup.claim.
        """
        return self.lookup.claim(raw, origin)

    def find_tag(self, name: str, tag: str) -> Weights | None:
        """The weights of a model's tag, or None; paths are not looked at."""
        return tag_of(self.lookup, self.resolve(name), tag)

    def fetch(self, weights: Weights, cache_dir: Path | None = None, context: FetchContext | None = None) -> Fetched:
        """Bring the bytes of the first source that can be had; of weights, or of any other file.

        Args:
            weights: their sources are tried.
            cache_dir: where downloads are kept, instead of the usual folder.
            context: further circumstances; it names the folder then.

        Raises:
            FetchError: no source gave it.
        """
        return fetch(weights, self.lookup.fetchers(), context or FetchContext(cache_folder(cache_dir)))

    def public_class(self, name: str) -> type | None:
        """The class that a plugin offers under a name, or None.

        Raises:
            ConflictError: two plugins offer it.
            PluginError: it is not where the plugin says.
        """
        place = self.lookup.public_classes().get(name)
        if place is None:
            return None
        try:
            found = resolve_name(place)
        except Exception as error:  # the module is the plugin's, and its import may raise anything
            raise PluginError(
                f"The public class {name!r} should be {place!r}, and is not there: {type(error).__name__}: {error}. "
                "Correct the answer to the hook public_classes, or install what the module needs."
            ) from error
        if not isinstance(found, type):
            raise PluginError(f"The public class {name!r}, {place!r}, is a {type(found).__name__}, expected a class.")
        return found

    def build(self, config: ModelConfig, tower: str | None) -> nn.Module:
        """The module that a config's owner makes of it."""
        owner = self.lookup.owner(config)
        module: nn.Module = self.host.ask_one(owner, "build_model", config=config, tower=tower, registry=self._registry)
        return module

    def convert(self, config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
        """A checkpoint's tensors under the names of the config's model, as its owner maps them.

        Args:
            config: of the model to load into.
            trained: of the model that the tensors were shaped for.
            state: the checkpoint.

        Raises:
            PluginError: the hook failed, or gave no Conversion.
        """
        owner = self.lookup.owner(config)
        answer = self.host.ask_one(
            owner, "convert_state_dict", config=config, trained=trained, state=state, registry=self._registry
        )
        if answer is None:
            return Conversion(state)
        if not isinstance(answer, Conversion):
            raise PluginError(
                f"Plugin {owner} answered its hook convert_state_dict with a {type(answer).__name__}, expected "
                f"Conversion. Nothing was loaded; the fault is in {owner.location}."
            )
        return answer

    def post_load(self, plugin: Plugin, model: nn.Module, report: LoadReport) -> nn.Module | None:
        """What a plugin puts in the place of a loaded model, or None where it finished the model itself, if at all.

        Raises:
            PluginError: the hook failed, or gave something else.
        """
        from torch import nn

        answer = self.host.ask_one(plugin, "post_load", model=model, report=report, registry=self._registry)
        if answer is None or isinstance(answer, nn.Module):
            return answer
        raise PluginError(
            f"Plugin {plugin} answered its hook post_load with a {type(answer).__name__}, expected a torch.nn.Module "
            f"or None. The model was not returned; the fault is in {plugin.location}."
        )

    def own_tokenizer(self, config: ModelConfig) -> Callable[[str | list[str]], Tensor] | None:
        """The tokenizer that a config's owner brings itself, or None where the config says it all.

        Raises:
            PluginError: the hook failed, or gave nothing that can be called.
        """
        return self._own("build_tokenizer", config=config)

    def own_transform(self, config: ModelConfig, *, train: bool) -> Callable[[Image], Tensor] | None:
        """The transform that a config's owner brings itself, or None where the config says it all.

        Raises:
            PluginError: the hook failed, or gave nothing that can be called.
        """
        return self._own("build_preprocess", config=config, train=train)

    def own_loss(self, config: ModelConfig, options: LossOptions) -> nn.Module | None:
        """The loss that a config's owner brings itself, or None where the core chooses.

        Raises:
            PluginError: the hook failed, or gave no module.
            OverrideError: an argument that the loss has not.
        """
        owner = self.lookup.owner(config)
        answer: nn.Module | None = self.host.ask_one(
            owner, "build_loss", config=config, options=options, registry=self._registry
        )
        if answer is None:
            return None
        from torch import nn

        if isinstance(answer, nn.Module):
            return answer
        raise PluginError(
            f"Plugin {owner} answered its hook build_loss with a {type(answer).__name__}, expected a torch.nn.Module, "
            f"or None. Nothing was made; the fault is in {owner.location}."
        )

    def aspects(self, model: nn.Module) -> PictureAspects | None:
        """What a created model tells of pictures beside their content, or None where that is all.

        Raises:
            RegistryError: `create` did not make the model.
            PluginError: the owner's hook failed, or gave something else.
        """
        owner = self.lookup.owner(self._registry.report(model).config)
        answer: object = self.host.ask_one(owner, "build_aspects", model=model, registry=self._registry)
        fault = None if answer is None else fault_of(answer)
        if fault is not None:
            raise PluginError(
                f"Plugin {owner} answered its hook build_aspects with {fault}. Nothing was made; the fault is in "
                f"{owner.location}."
            )
        return answer  # type: ignore[return-value] # None, or the fault would have been that it is no PictureAspects

    def _own(self, hook: str, *, config: ModelConfig, **arguments: Any) -> Callable[[Any], Tensor] | None:
        owner = self.lookup.owner(config)
        answer: Callable[[Any], Tensor] | None = self.host.ask_one(
            owner, hook, config=config, registry=self._registry, **arguments
        )
        if answer is None or callable(answer):
            return answer
        raise PluginError(
            f"Plugin {owner} answered its hook {hook} with a {type(answer).__name__}, expected something that can be "
            f"called, or None. Nothing was made; the fault is in {owner.location}."
        )
