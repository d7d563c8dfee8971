"""Names that more than one plugin provides. Such a name must be qualified with the plugin's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from registry_core.hooks.plugin import Plugin
from registry_core.resolve.services import Services

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A name that more than one plugin provides.

    Attributes:
        what: "model 'ViT-B-32'", "tag 'openai' of 'ViT-B-32'" or "scheme 's3'".
        plugins: The plugins that provide it.
        advice: How to choose one of them.
    """

    what: str
    plugins: tuple[Plugin, ...]
    advice: str

    def __str__(self) -> str:
        return f"{self.what} is provided by {' and by '.join(map(str, self.plugins))}; {self.advice}"


def find_conflicts(services: Services) -> list[Conflict]:
    """Return every model name, tag and scheme that more than one plugin provides."""
    return [*_model_conflicts(services), *_tag_conflicts(services), *_scheme_conflicts(services)]


def _model_conflicts(services: Services) -> Iterator[Conflict]:
    providers: dict[str, list[Plugin]] = {}
    base = services.catalog.base_models()
    for plugin, table in [*services.calls.list_models(), *services.calls.derive_models(base)]:
        _add_provider(providers, plugin, table)
    for name, plugins in _contested(providers):
        yield Conflict(f"model {name!r}", plugins, f"use {_qualified(plugins, name)}, or switch one off")


def _tag_conflicts(services: Services) -> Iterator[Conflict]:
    providers: dict[tuple[str, str], list[Plugin]] = {}
    for plugin, pairs in services.calls.list_pretrained():
        _add_provider(providers, plugin, pairs)
    for (model, tag), plugins in _contested(providers):
        advice = f"use the tag of {_qualified(plugins, model)}, or switch one off"
        yield Conflict(f"tag {tag!r} of {model!r}", plugins, advice)


def _scheme_conflicts(services: Services) -> Iterator[Conflict]:
    providers: dict[str, list[Plugin]] = {}
    for plugin, table in services.calls.tables("fetchers"):
        _add_provider(providers, plugin, table)
    for scheme, plugins in _contested(providers):
        yield Conflict(f"scheme {scheme!r}", plugins, "nothing is fetched until one is switched off")


def _add_provider(providers: dict[Key, list[Plugin]], plugin: Plugin, names: Iterable[Key]) -> None:
    for name in names:
        known = providers.setdefault(name, [])
        if plugin not in known:
            known.append(plugin)


def _contested(providers: Mapping[Key, list[Plugin]]) -> Iterator[tuple[Key, tuple[Plugin, ...]]]:
    return ((name, tuple(plugins)) for name, plugins in providers.items() if len(plugins) > 1)


def _qualified(plugins: Iterable[Plugin], name: str) -> str:
    return " or ".join(f"'{plugin.name}::{name}'" for plugin in plugins)
