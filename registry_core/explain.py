"""Where a model's config and weights come from and whose code answers, before anything is fetched or built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from registry_core.cache import cache_folder
from registry_core.config import ModelConfig
from registry_core.fetch import FetchContext
from registry_core.lookup import FoundWeights, Resolved
from registry_core.places import UNKNOWN, Place, TagPlace, places, tag_places
from registry_core.plugins import Plugin
from registry_core.render import columns, facts
from registry_core.report import Setting
from registry_core.services import Services
from registry_core.settle import settle
from registry_core.tags import find_weights
from registry_core.trace import Step, recorded


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
        conversion: whose code will map the checkpoint's names, and what it says of itself; empty without weights.
        post_load: whose code will finish the model, in order, each with what it says of itself.
        switched_off: plugins that were left out, and by whom.
        tags: each tag of the model: whether its file is here, its size and where it would come from.
        licence: of the weights, or "unknown"; empty without weights.
        steps: each question to the plugins: who was asked, who answered with what, from which file.
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
    conversion: str = ""
    post_load: tuple[str, ...] = ()
    switched_off: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    tags: tuple[TagPlace, ...] = ()
    licence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types, for programs."""
        return {**asdict(self), "config": self.config.raw()}

    def __str__(self) -> str:
        height, width = self.config.image_size
        rows = [
            ("model", self.name),
            ("asked", ", ".join(self.asked)),
            ("name from", self.plugin),
            ("config from", self.origin),
            ("derived from", self.base or ""),
            ("architecture", self.owner),
            ("image tower", f"{self.config.vision_cfg.summary}, picture {height}x{width}"),
            ("text tower", self.config.text_cfg.summary),
            ("activation", "QuickGELU" if self.config.quick_gelu else "GELU"),
            ("weights", self.weights),
            ("answered by", self.answered),
            *((f"source {number}", str(place)) for number, place in enumerate(self.places, 1)),
            ("licence", self.licence),
            ("tags", "" if self.places else "\n".join(map(_tag_line, self.tags))),
            ("settled", "\n".join(map(str, self.settled))),
            ("conversion", self.conversion),
            ("post_load", "\n".join(self.post_load)),
            ("broken plugins", "\n".join(self.broken)),
            ("switched off", "\n".join(self.switched_off)),
        ]
        return f"{facts(rows)}\n\n{columns(('question', 'asked', 'answered by', 'answer', 'file'), _lines(self.steps))}"


def explain(
    services: Services, name: str, pretrained: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> Explanation:
    """Follow a name and weights as far as the bytes.

    Raises:
        RegistryError: what `create` would raise before it fetches.
    """
    with recorded() as steps:
        resolved = services.resolve(name)
        found = find_weights(services.lookup, resolved, pretrained)
        weights = found.weights if found else None
        settled = settle(resolved.config, weights, overrides, lambda raw, origin: services.claim(raw, origin).config)
    plugins: list[Plugin] = list(services.host)
    context = FetchContext(cache_folder())
    return Explanation(
        resolved.name,
        tuple(str(plugin) for plugin in plugins if plugin.active),
        str(resolved.plugin),
        str(resolved.owner),
        _origin(services, resolved),
        _base(services, resolved),
        settled.config,
        str(weights) if weights else "none asked for: random values",
        _answered(found),
        places(weights, context) if weights else (),
        tuple(settled.settings),
        tuple(f"{plugin}: {plugin.error}" for plugin in plugins if plugin.error is not None),
        _conversion(resolved.owner) if weights else "",
        _post_load(resolved.owner, plugins),
        tuple(f"{plugin}: by {plugin.disabled}" for plugin in plugins if plugin.disabled),
        _telling(steps),
        tag_places(services.lookup, resolved, context),
        (weights.licence or UNKNOWN) if weights else "",
    )


def _tag_line(tag: TagPlace) -> str:
    size = f"{tag.size:,} bytes" if tag.size is not None else "size unknown"
    where = "here" if tag.here else "would come from"
    return f"{tag.tag}: {size}, licence {tag.licence}, {where} {tag.address}"


def _conversion(owner: Plugin) -> str:
    if "convert_state_dict" not in owner.hooks:
        return f"none: {owner} takes the checkpoint's names as they are"
    return _will_run(owner, "convert_state_dict")


def _post_load(owner: Plugin, plugins: list[Plugin]) -> tuple[str, ...]:
    """The chain that a model runs through once it is loaded: its owner first, then the others."""
    chain = (owner, *(plugin for plugin in plugins if plugin is not owner))
    return tuple(_will_run(plugin, "post_load") for plugin in chain if "post_load" in plugin.hooks)


def _will_run(plugin: Plugin, hook: str) -> str:
    said = plugin.says(hook)
    return f"{plugin}, {plugin.place(hook)}" + (f": {said}" if said else "")


def _telling(steps: list[Step]) -> tuple[Step, ...]:
    """The questions about this model, each once: not those for lists of everything."""
    asked = [step for step in steps if step.hook in {"resolve_config", "resolve_pretrained"}]
    return tuple(step for number, step in enumerate(asked) if step not in asked[:number])


def _lines(steps: Iterable[Step]) -> Iterator[tuple[str, str, str, str, str]]:
    """A line a question, and one more for every further answer; questions that a plugin asked are indented."""
    for step in steps:
        question = f"{'  ' * step.depth}{step.hook} {step.about}"
        said = [(f"{a.plugin} ({a.distribution} {a.version})", a.answer, a.file) for a in step.answers]
        first, *others = said or [("nobody", "", "")]
        yield question, ", ".join(step.asked), *first
        yield from (("", "", *other) for other in others)


def _base(services: Services, resolved: Resolved) -> str | None:
    """The model that it is derived from, if it is. Every plugin's list is looked at, so that only explaining asks."""
    return services.lookup.derived_models().get(resolved.name)


def _origin(services: Services, resolved: Resolved) -> str:
    """The file that the config is from: the user's, the plugin's table, or else the plugin's code."""
    if resolved.home is not None:
        return resolved.origin
    base = _base(services, resolved)
    if base is not None:
        return _origin(services, services.resolve(base))
    table = services.host.ask_one(resolved.plugin, "list_models") or {}
    return str(getattr(table, "origin", resolved.origin)) if resolved.name in table else resolved.origin


def _answered(found: FoundWeights | None) -> str:
    if found is None:
        return ""
    if found.plugin is not None:
        return str(found.plugin)
    return "registry_core: no plugin answered, and the path exists"
