"""Names that more than one plugin brings: they work qualified only, so that users should know before they ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from registry_core.plugins import Plugin
from registry_core.services import Services

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Clash:
    """One name with two answers.

    Attributes:
        what: "model 'ViT-B-32'", "tag 'openai' of 'ViT-B-32'" or "scheme 's3'".
        plugins: that bring it.
        advice: how to say which is meant.
    """

    what: str
    plugins: tuple[Plugin, ...]
    advice: str

    def __str__(self) -> str:
        return f"{self.what} is brought by {' and by '.join(map(str, self.plugins))}; {self.advice}"


def find_clashes(services: Services) -> list[Clash]:
    """Every model name, tag and scheme that more than one plugin brings."""
    models: dict[str, list[Plugin]] = {}
    base = services.lookup.base_models()
    for hook in ("list_models", "derive_models"):
        for plugin, table in services.host.ask(hook, base=base):
            if isinstance(table, Mapping):
                _note(models, plugin, table)
    tags: dict[tuple[str, str], list[Plugin]] = {}
    for plugin, pairs in services.host.ask("list_pretrained"):
        if isinstance(pairs, (list, tuple)):
            _note(tags, plugin, (pair for pair in pairs if isinstance(pair, tuple)))
    schemes: dict[str, list[Plugin]] = {}
    for plugin, table in services.host.ask("fetchers"):
        if isinstance(table, Mapping):
            _note(schemes, plugin, table)
    return [*_of_models(models), *_of_tags(tags), *_of_schemes(schemes)]


def _note(bringers: dict[Key, list[Plugin]], plugin: Plugin, names: Iterable[Key]) -> None:
    for name in names:
        known = bringers.setdefault(name, [])
        if plugin not in known:
            known.append(plugin)


def _of_models(bringers: Mapping[str, list[Plugin]]) -> Iterator[Clash]:
    for name, plugins in bringers.items():
        if len(plugins) > 1:
            qualified = " or ".join(f"'{plugin.name}::{name}'" for plugin in plugins)
            yield Clash(f"model {name!r}", tuple(plugins), f"say {qualified}, or switch one off")


def _of_tags(bringers: Mapping[tuple[str, str], list[Plugin]]) -> Iterator[Clash]:
    for (model, tag), plugins in bringers.items():
        if len(plugins) > 1:
            qualified = " or ".join(f"'{plugin.name}::{model}'" for plugin in plugins)
            yield Clash(f"tag {tag!r} of {model!r}", tuple(plugins), f"ask {qualified} for it, or switch one off")


def _of_schemes(bringers: Mapping[str, list[Plugin]]) -> Iterator[Clash]:
    for scheme, plugins in bringers.items():
        if len(plugins) > 1:
            yield Clash(f"scheme {scheme!r}", tuple(plugins), "nothing is fetched until one is switched off")
