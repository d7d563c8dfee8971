"""The core's calls to hooks, in one place, with every answer checked.

An answer of the wrong type is the fault of its plugin. In a list it is recorded with the plugin and left out; where
the answer is needed it is a PluginError that names the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from registry_core.checkpoint.index import Conversion
from registry_core.config.model import ModelConfig, RawConfig
from registry_core.errors import PluginError
from registry_core.fetch.repository import ModelRepository
from registry_core.fetch.sources import Weights
from registry_core.hooks.host import PluginHost
from registry_core.hooks.plugin import Plugin
from registry_core.zero_shot.aspects import fault_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.checkpoint.index import LazyTensor
    from registry_core.losses.options import LossOptions
    from registry_core.protocols import PluginRegistry
    from registry_core.report import LoadReport
    from registry_core.zero_shot.aspects import ImageAspects


class HookCalls:
    """Typed calls to the plugins of one registry.

    Args:
        host: The plugins.
        registry: Passed to hooks that take a `registry` argument.
    """

    def __init__(self, host: PluginHost, registry: PluginRegistry) -> None:
        self.host = host
        self._registry = registry

    # Listing hooks. Every plugin is asked.

    def list_models(self) -> Iterator[tuple[Plugin, Mapping[str, RawConfig]]]:
        """Yield the raw configs that each plugin lists."""
        for plugin, table in self._ask("list_models", Mapping):
            if self._names(plugin, "list_models", table) and self._all_are(
                plugin, "list_models", table.values(), _is_mapping, "a config that is not a mapping"
            ):
                yield plugin, table

    def list_pretrained(self) -> Iterator[tuple[Plugin, Iterable[tuple[str, str]]]]:
        """Yield the (model, tag) pairs that each plugin lists."""
        for plugin, pairs in self._ask("list_pretrained", (list, tuple)):
            if self._all_are(plugin, "list_pretrained", pairs, _is_tag, "an item that is not a (model, tag) tuple"):
                yield plugin, pairs

    def derive_models(self, base: Mapping[str, RawConfig]) -> Iterator[tuple[Plugin, Mapping[str, str]]]:
        """Yield the derived names of each plugin, with their base names."""
        for plugin, table in self._ask("derive_models", Mapping, base=base):
            if self._names(plugin, "derive_models", table) and self._all_are(
                plugin, "derive_models", table.values(), _is_text, "a base that is not a name"
            ):
                yield plugin, table

    def describe_models(self) -> Iterator[tuple[Plugin, Mapping[str, Mapping[str, str]]]]:
        """Yield the additional table columns of each plugin."""
        for plugin, columns in self._ask("describe_models", Mapping):
            if (
                self._names(plugin, "describe_models", columns)
                and self._all_are(
                    plugin, "describe_models", columns.values(), _is_mapping, "a column that is not a mapping"
                )
                and self._all_are(
                    plugin, "describe_models", columns.values(), _is_column, "a column that is not model name -> text"
                )
            ):
                yield plugin, columns

    def tables(self, hook: str) -> Iterator[tuple[Plugin, Mapping[str, Any]]]:
        """Yield what each plugin answers to `fetchers` or `public_classes`."""
        for plugin, table in self._ask(hook, Mapping):
            if self._names(plugin, hook, table):
                yield plugin, table

    # Resolving. Every plugin is asked, unless `to` names one.

    def resolve_config(
        self, name: str, raw: RawConfig | None, *, to: str | None = None, cache_dir: Path | None = None
    ) -> list[tuple[Plugin, ModelConfig]]:
        """Return the configs that plugins give for a name or a raw config."""
        return self._ask("resolve_config", ModelConfig, to=to, name=name, raw=raw, cache_dir=cache_dir)

    def resolve_pretrained(
        self, name: str, config: ModelConfig, tag: str, *, to: str | None = None
    ) -> list[tuple[Plugin, Weights]]:
        """Return the weights that plugins give for a tag."""
        return self._ask("resolve_pretrained", Weights, to=to, name=name, config=config, tag=tag)

    def resolve_repository(self, plugin: Plugin, name: str) -> ModelRepository | None:
        """Return the model repository that a name refers to, or None."""
        answer: object = self._call(plugin, "resolve_home", name=name)
        if answer is None or isinstance(answer, ModelRepository):
            return answer
        raise _wrong(plugin, "resolve_home", answer, "a ModelRepository or None", "Nothing was built")

    # Building and loading, by the owner of the config.

    def build_model(self, owner: Plugin, config: ModelConfig, tower: str | None) -> nn.Module:
        """Return the module that the owner builds. build/uninitialised.py checks that it is a module."""
        module: nn.Module = self._call(owner, "build_model", config=config, tower=tower)
        return module

    def convert_state_dict(
        self, owner: Plugin, config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]
    ) -> Conversion:
        """Return the checkpoint under the names of the model; unchanged if the owner does not convert."""
        answer: object = self._call(owner, "convert_state_dict", config=config, trained=trained, state=state)
        if answer is None:
            return Conversion(state)
        if isinstance(answer, Conversion):
            return answer
        raise _wrong(owner, "convert_state_dict", answer, "Conversion", "Nothing was loaded")

    def post_load(self, plugin: Plugin, model: nn.Module, report: LoadReport) -> nn.Module | None:
        """Return the replacement for a loaded model, or None if the plugin replaces nothing."""
        from torch import nn

        answer: object = self._call(plugin, "post_load", model=model, report=report)
        if answer is None or isinstance(answer, nn.Module):
            return answer
        raise _wrong(plugin, "post_load", answer, "a torch.nn.Module or None", "The model was not returned")

    def build_tokenizer(self, owner: Plugin, config: ModelConfig) -> Callable[[str | list[str]], Tensor] | None:
        """Return the tokenizer of the owner, or None."""
        answer: object = self._call(owner, "build_tokenizer", config=config)
        return cast("Callable[[str | list[str]], Tensor] | None", _callable(owner, "build_tokenizer", answer))

    def build_preprocess(self, owner: Plugin, config: ModelConfig, *, train: bool) -> Callable[[Image], Tensor] | None:
        """Return the image transform of the owner, or None."""
        answer: object = self._call(owner, "build_preprocess", config=config, train=train)
        return cast("Callable[[Image], Tensor] | None", _callable(owner, "build_preprocess", answer))

    def build_loss(self, owner: Plugin, config: ModelConfig, options: LossOptions) -> nn.Module | None:
        """Return the loss of the owner, or None."""
        answer: object = self._call(owner, "build_loss", config=config, options=options)
        if answer is None:
            return None
        from torch import nn

        if isinstance(answer, nn.Module):
            return answer
        raise _wrong(owner, "build_loss", answer, "a torch.nn.Module or None", "Nothing was made")

    def build_aspects(self, owner: Plugin, model: nn.Module) -> ImageAspects | None:
        """Return what the model predicts besides the content, or None."""
        answer: Any = self._call(owner, "build_aspects", model=model)
        fault = None if answer is None else fault_of(answer)
        if fault is not None:
            raise _faulty(owner, "build_aspects", fault, "Nothing was made")
        aspects: ImageAspects | None = answer
        return aspects

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        return self.host.ask_one(plugin, hook, registry=self._registry, **arguments)

    def _ask(
        self, hook: str, kind: type | tuple[type, ...], *, to: str | None = None, **arguments: Any
    ) -> list[tuple[Plugin, Any]]:
        """Return the answers of the right type; record a wrong one with its plugin.

        The failure of an earlier call is removed if the plugin does not fail again.
        """
        earlier = {plugin: plugin.failures.get(hook) for plugin in self.host if to in {None, plugin.name}}
        answers = self.host.ask(hook, to=to, registry=self._registry, **arguments)
        for plugin, failure in earlier.items():
            if failure is not None and plugin.failures.get(hook) is failure:
                plugin.failures.pop(hook, None)
        right = []
        for plugin, answer in answers:
            if isinstance(answer, kind):
                right.append((plugin, answer))
            else:
                expected = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
                plugin.fail(hook, _wrong(plugin, hook, answer, expected, "The answer was not used"))
        return right

    def _names(self, plugin: Plugin, hook: str, table: Mapping[Any, Any]) -> bool:
        return self._all_are(plugin, hook, table, _is_text, "a key that is not a name")

    def _all_are(
        self, plugin: Plugin, hook: str, items: Iterable[object], fits: Callable[[object], bool], what: str
    ) -> bool:
        """Whether all items of an answer pass a test; otherwise record the failure with the plugin."""
        sound = all(map(fits, items))
        if not sound:
            plugin.fail(hook, _faulty(plugin, hook, what, "The answer was not used"))
        return sound


def _is_text(item: object) -> bool:
    return isinstance(item, str)


def _is_mapping(item: object) -> bool:
    return isinstance(item, Mapping)


def _is_column(item: object) -> bool:
    return isinstance(item, Mapping) and all(isinstance(text, str) for pair in item.items() for text in pair)


def _is_tag(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == len(("model", "tag")) and all(map(_is_text, item))


def _callable(plugin: Plugin, hook: str, answer: object) -> object:
    if answer is None or callable(answer):
        return answer
    raise _wrong(plugin, hook, answer, "something that can be called, or None", "Nothing was made")


def _wrong(plugin: Plugin, hook: str, answer: object, expected: str, outcome: str) -> PluginError:
    found = type(answer).__name__
    return _faulty(plugin, hook, f"a {found}, expected {expected}", outcome, expected=expected, found=found)


def _faulty(
    plugin: Plugin, hook: str, answer: str, outcome: str, *, expected: str | None = None, found: str | None = None
) -> PluginError:
    return PluginError(
        f"Plugin {plugin} answered its hook {hook} with {answer}. {outcome}; the fault is in {plugin.location}.",
        plugin=plugin.name,
        hook=hook,
        expected=expected,
        found=found or answer,
    )
