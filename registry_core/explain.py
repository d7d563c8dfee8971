"""Where a model's config and weights come from and whose code answers, before anything is fetched or built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry_core.cache import cache_folder, cached_record
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index
from registry_core.config import ModelConfig
from registry_core.errors import CheckpointError
from registry_core.fetch import location
from registry_core.lookup import FoundWeights, Resolved
from registry_core.plugins import Plugin
from registry_core.render import facts
from registry_core.report import Setting
from registry_core.services import Services
from registry_core.settle import settle
from registry_core.tags import find_weights
from registry_core.weights import LocalFile, Source, Weights


@dataclass(frozen=True, slots=True)
class Place:
    """One source of the weights.

    Attributes:
        source: URL, hub file or path.
        path: where it is on this machine, or would be.
        state: "in the cache, 605,157,884 bytes", "not here yet", or what the file holds.
    """

    source: str
    path: str
    state: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answers to "where from?" and "who says so?". Prints as a table.

    Attributes:
        asked: every working plugin, in the order in which they were asked.
        plugin: who brought the name; `owner`: whose architecture it is.
        origin: the config file or module that the config is from.
        base: the model it is derived from, if it is.
        answered: who answered the tag or path; empty without weights.
        settled: config keys that the weights or the caller decide.
    """

    name: str
    asked: tuple[str, ...]
    plugin: str
    owner: str
    origin: str
    base: str | None
    config: ModelConfig
    weights: str
    answered: str
    places: tuple[Place, ...]
    settled: tuple[Setting, ...]
    broken: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types, for programs."""
        return {**asdict(self), "config": self.config.raw()}

    def __str__(self) -> str:
        vision, text = self.config.vision_cfg, self.config.text_cfg
        height, width = self.config.image_size
        rows = [
            ("model", self.name),
            ("asked", ", ".join(self.asked)),
            ("name from", self.plugin),
            ("config from", self.origin),
            ("derived from", self.base or ""),
            ("architecture", self.owner),
            ("image tower", f"layers {vision.layers}, width {vision.width}, picture {height}x{width}"),
            ("text tower", f"layers {text.layers}, width {text.width}, context {text.context_length}"),
            ("activation", "QuickGELU" if self.config.quick_gelu else "GELU"),
            ("weights", self.weights),
            ("answered by", self.answered),
            *((f"source {number}", _describe(place)) for number, place in enumerate(self.places, 1)),
            ("settled", "\n".join(map(str, self.settled))),
            ("broken plugins", "\n".join(self.broken)),
        ]
        return facts(rows)


def explain(
    services: Services, name: str, pretrained: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> Explanation:
    """Follow a name and weights as far as the bytes.

    Raises:
        RegistryError: what `create` would raise before it fetches.
    """
    resolved = services.resolve(name)
    found = find_weights(services.lookup, resolved, pretrained)
    weights = found.weights if found else None
    settled = settle(resolved.config, weights, overrides, lambda raw, origin: services.claim(raw, origin).config)
    plugins: list[Plugin] = list(services.host)
    return Explanation(
        resolved.name,
        tuple(str(plugin) for plugin in plugins if plugin.active),
        str(resolved.plugin),
        str(resolved.owner),
        _origin(services, resolved),
        resolved.base,
        settled.config,
        str(weights) if weights else "none asked for: random values",
        _answered(found),
        tuple(_places(weights)) if weights else (),
        tuple(settled.settings),
        tuple(f"{plugin}: {plugin.error}" for plugin in plugins if plugin.error is not None),
    )


def _origin(services: Services, resolved: Resolved) -> str:
    """The file that the config is from: the user's, the plugin's table, or else the plugin's code."""
    if resolved.home is not None:
        return resolved.origin
    if resolved.base is not None:
        return _origin(services, services.resolve(resolved.base))
    table = services.host.ask_one(resolved.plugin, "list_models") or {}
    return str(getattr(table, "origin", resolved.origin)) if resolved.name in table else resolved.origin


def _answered(found: FoundWeights | None) -> str:
    if found is None:
        return ""
    if found.plugin is not None:
        return str(found.plugin)
    return "registry_core: no plugin answered, and the path exists"


def _places(weights: Weights) -> list[Place]:
    folder = cache_folder()
    places = []
    for source in weights.sources:
        # A hub file has one place for each name it may have: the one that is here, or else the first to be tried.
        candidates = location(source, folder)
        path = next(filter(cached_record, candidates), candidates[0]) if candidates else None
        places.append(Place(str(source), str(path or ""), _state(source, path) if path else "fetched by a plugin"))
    return places


def _state(source: Source, path: Path) -> str:
    if not isinstance(source, LocalFile):
        record = cached_record(path)
        return f"in the cache, {record.size:,} bytes" if record else "not here yet"
    try:
        with CheckpointFile(path) as file:
            index = read_index(file)
            return f"{index.format}, {len(index.tensors)} tensors, {file.size:,} bytes"
    except CheckpointError as error:
        return f"create would fail: {error}"


def _describe(place: Place) -> str:
    return place.state if place.source == place.path else f"{place.source}\n{place.path}: {place.state}"
