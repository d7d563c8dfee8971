"""Where a model's config and weights come from, and which plugins answer. Nothing is built, no weights are fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from registry_core.config.model import ModelConfig
from registry_core.config.overrides import Setting
from registry_core.diagnose.source_status import UNKNOWN, SourceStatus, TagStatus, source_statuses, tag_statuses
from registry_core.fetch import FetchContext
from registry_core.fetch.cache import cache_folder
from registry_core.hooks.plugin import Plugin
from registry_core.hooks.trace import Step, recorded
from registry_core.render import columns, facts
from registry_core.resolve.results import FoundWeights, Resolved
from registry_core.resolve.services import Services


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a model's config and weights come from, and which plugins answer. Prints as a table.

    Attributes:
        name: The model's name.
        asked: Every working plugin, in the order in which they are asked.
        plugin: The plugin that provides the name.
        owner: The plugin that owns the architecture.
        origin: The config file or module that the config is from.
        base: The base model of a derived model, or None.
        config: The config after all overrides.
        weights: The tag or path, or "none asked for: random values".
        answered: The plugin that provides the weights. Empty without weights.
        places: The status of each source of the weights.
        settled: Config keys that the weights or the caller override.
        broken: Plugins that do not work, each with its error.
        conversion: The hook that will convert the checkpoint, and the first line of its docstring. Empty without
            weights.
        post_load: The hooks that will finish the model, in order, each with the first line of its docstring.
        switched_off: Plugins that are switched off, each with what switched it off.
        steps: Each question to the plugins: which plugins were asked, which answered what, from which file.
        tags: The status of each tag of the model.
        licence: Licence of the weights, or "unknown". Empty without weights.
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
    places: tuple[SourceStatus, ...]
    settled: tuple[Setting, ...]
    broken: tuple[str, ...]
    conversion: str = ""
    post_load: tuple[str, ...] = ()
    switched_off: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    tags: tuple[TagStatus, ...] = ()
    licence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON types, for programs."""
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
            ("image tower", f"{self.config.vision_cfg.summary}, image {height}x{width}"),
            ("text tower", self.config.text_cfg.summary),
            ("activation", "QuickGELU" if self.config.quick_gelu else "GELU"),
            ("weights", self.weights),
            ("answered by", self.answered),
            *((f"source {number}", str(source)) for number, source in enumerate(self.places, 1)),
            ("licence", self.licence),
            ("tags", "" if self.places else "\n".join(map(str, self.tags))),
            ("overridden", "\n".join(map(str, self.settled))),
            ("conversion", self.conversion),
            ("post_load", "\n".join(self.post_load)),
            ("broken plugins", "\n".join(self.broken)),
            ("switched off", "\n".join(self.switched_off)),
        ]
        steps = columns(("question", "asked", "answered by", "answer", "file"), _step_rows(self.steps))
        return f"{facts(rows)}\n\n{steps}"


def explain(
    services: Services, name: str, pretrained: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> Explanation:
    """Explain a model name and weights.

    Raises:
        RegistryError: `create` would raise the same error before it fetches the weights.
    """
    with recorded() as steps:
        resolved = services.resolve(name)
        found = services.find_weights(resolved, pretrained)
        config = services.apply_overrides(resolved.config, found, overrides)
    weights = found.weights if found else None
    plugins = services.plugins()
    context = FetchContext(cache_folder())
    return Explanation(
        name=resolved.name,
        asked=tuple(str(plugin) for plugin in plugins if plugin.active),
        plugin=str(resolved.plugin),
        owner=str(resolved.owner),
        origin=_origin(services, resolved),
        base=_base(services, resolved),
        config=config.config,
        weights=str(weights) if weights else "none asked for: random values",
        answered=_answered(found),
        places=source_statuses(weights, context) if weights else (),
        settled=tuple(config.settings),
        broken=tuple(f"{plugin}: {plugin.error}" for plugin in plugins if plugin.error is not None),
        conversion=_conversion(resolved.owner) if weights else "",
        post_load=_post_load(resolved.owner, plugins),
        switched_off=tuple(f"{plugin}: by {plugin.disabled}" for plugin in plugins if plugin.disabled),
        steps=_about_this_model(steps),
        tags=tag_statuses(services, resolved, context),
        licence=(weights.licence or UNKNOWN) if weights else "",
    )


def _conversion(owner: Plugin) -> str:
    if "convert_state_dict" not in owner.hooks:
        return f"none: {owner} uses the checkpoint's names as they are"
    return _hook_line(owner, "convert_state_dict")


def _post_load(owner: Plugin, plugins: list[Plugin]) -> tuple[str, ...]:
    """Return a line for each post_load hook that will run: the owner's first, then those of the other plugins."""
    chain = (owner, *(plugin for plugin in plugins if plugin is not owner))
    return tuple(_hook_line(plugin, "post_load") for plugin in chain if "post_load" in plugin.hooks)


def _hook_line(plugin: Plugin, hook: str) -> str:
    """Return the plugin, the file and line of its hook, and the first line of the hook's docstring."""
    summary = plugin.summary_of(hook)
    return f"{plugin}, {plugin.location_of(hook)}" + (f": {summary}" if summary else "")


def _about_this_model(steps: list[Step]) -> tuple[Step, ...]:
    """Return the questions about the model, each once. Questions that list everything are left out."""
    asked = [step for step in steps if step.hook in {"resolve_config", "resolve_pretrained"}]
    return tuple(step for number, step in enumerate(asked) if step not in asked[:number])


def _step_rows(steps: Iterable[Step]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a row for each question, and one for each further answer. A question that a plugin asked is indented."""
    for step in steps:
        question = f"{'  ' * step.depth}{step.hook} {step.about}"
        answers = [(f"{a.plugin} ({a.distribution} {a.version})", a.answer, a.file) for a in step.answers]
        first, *others = answers or [("no plugin", "", "")]
        yield question, ", ".join(step.asked), *first
        yield from (("", "", *other) for other in others)


def _base(services: Services, resolved: Resolved) -> str | None:
    """Return the base model of a derived model, or None. This asks every plugin for its whole list."""
    return services.catalog.derived_models().get(resolved.name)


def _origin(services: Services, resolved: Resolved) -> str:
    """Return where the config is from: the user's file, the plugin's table, or else the plugin's module."""
    if resolved.home is not None:
        return resolved.origin
    base = _base(services, resolved)
    if base is not None:
        return _origin(services, services.resolve(base))
    table = services.calls.host.ask_one(resolved.plugin, "list_models") or {}
    return str(getattr(table, "origin", resolved.origin)) if resolved.name in table else resolved.origin


def _answered(found: FoundWeights | None) -> str:
    if found is None:
        return ""
    if found.plugin is not None:
        return str(found.plugin)
    return "registry_core: no plugin answered, and the path exists"
