"""The commands about models: list, show, explain, create."""

from __future__ import annotations

import argparse
from typing import Any

from registry_core.cli.command import Adder, Answer
from registry_core.cli.model_options import add_model_options, add_weights_options, create_from, overrides_from
from registry_core.registry import Registry
from registry_core.render import columns, facts


def add_commands(add: Adder) -> None:
    """Add the commands of this module."""
    listing = add("list", _list, "list models and their tags")
    listing.add_argument("pattern", nargs="?", default="*", help="such as 'ViT-*'")
    add("show", _show, "show a model's config and tags").add_argument("name")
    explain = add("explain", _explain, "show where a model's config and weights come from, and which plugin answers")
    explain.add_argument("name")
    add_weights_options(explain)
    add_model_options(add("create", _create, "create a model and print its load report"))


def _list(registry: Registry, options: argparse.Namespace) -> Answer:
    names = registry.list_models(options.pattern)
    tags: dict[str, list[str]] = {name: [] for name in names}
    for model, tag in registry.list_pretrained():
        if model in tags:
            tags[model].append(tag)
    further = registry.services.catalog.descriptions()

    def text() -> str:
        rows = [
            (name, _shortened(found), *(texts.get(name, "") for texts in further.values()))
            for name, found in tags.items()
        ]
        return columns(("model", "tags", *further), rows)

    return tags, text


def _shortened(tags: list[str], most: int = 3) -> str:
    more = f", and {len(tags) - most} more" if len(tags) > most else ""
    return ", ".join(tags[:most]) + more


def _show(registry: Registry, options: argparse.Namespace) -> Answer:
    raw = registry.config(options.name).raw()
    tags = [tag for _, tag in registry.list_pretrained(options.name)]
    name = registry.services.resolve(options.name).name
    described = registry.services.catalog.descriptions()
    further = {column: texts[name] for column, texts in described.items() if name in texts}
    rows = [(key, _value(value)) for key, value in raw.items()]
    data = {"config": raw, "pretrained": tags, "further": further}
    return data, lambda: facts([*rows, ("tags", "\n".join(tags)), *further.items()])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {inner}" for key, inner in value.items() if inner is not None)
    return str(value)


def _explain(registry: Registry, options: argparse.Namespace) -> Answer:
    explanation = registry.explain(options.name, options.pretrained, **overrides_from(options.set))
    return explanation.to_dict(), lambda: str(explanation)


def _create(registry: Registry, options: argparse.Namespace) -> Answer:
    report = registry.report(create_from(registry, options))
    return report.to_dict(), lambda: str(report)
