"""The commands about models: list, show, explain, create."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from registry_core.cli.command import Adder, Answer
from registry_core.errors import OverrideError, did_you_mean
from registry_core.factory import Registry
from registry_core.render import columns, facts
from registry_core.settle import FLAT_OVERRIDES, NESTED_OVERRIDES

if TYPE_CHECKING:
    from torch import nn


def add_commands(add: Adder) -> None:
    """Put the commands of this file on the command line."""
    add("list", _list, "models and their tags").add_argument("pattern", nargs="?", default="*", help="such as 'ViT-*'")
    add("show", _show, "a model's config and tags").add_argument("name")
    _add_model_options(add("explain", _explain, "where a model's config and weights come from, and who answers"))
    create = add("create", _create, "create a model and print its load report")
    add_creation_options(create)
    create.add_argument("--device", default="cpu")


def add_creation_options(command: argparse.ArgumentParser) -> None:
    """The name of a model, and what `create` takes; see `created`."""
    _add_model_options(command)
    command.add_argument("--random", action="store_true", help="random weights are meant, without --pretrained")
    command.add_argument("--precision", default="fp32")
    command.add_argument("--tower", choices=("image", "text"))
    command.add_argument("--lenient", action="store_true", help="load what fits, report the rest")
    command.add_argument("--mmap", action="store_true", help="map the file instead of reading it")
    command.add_argument("--weights-of", metavar="TAG", help="the tag whose file the path is")
    command.add_argument("--cache-dir", metavar="FOLDER")


def created(registry: Registry, options: argparse.Namespace, device: str = "cpu") -> nn.Module:
    """The model that the options of `add_creation_options` ask for.

    Raises:
        RegistryError: as `create`; OverrideError where two options exclude each other.
    """
    names = ("pretrained", "precision", "tower", "mmap", "weights_of", "cache_dir")
    chosen = {name: getattr(options, name) for name in names}
    if options.random:
        if options.pretrained is not None:
            raise OverrideError("--random and --pretrained exclude each other. Nothing was built; leave one out.")
        chosen["pretrained"] = False
    return registry.create(options.name, device=device, strict=not options.lenient, **chosen, **_overrides(options.set))


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("name")
    command.add_argument("--pretrained", metavar="TAG_OR_PATH")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a config key")


def _list(registry: Registry, options: argparse.Namespace) -> Answer:
    names = registry.list_models(options.pattern)
    tags: dict[str, list[str]] = {name: [] for name in names}
    for model, tag in registry.list_pretrained():
        if model in tags:
            tags[model].append(tag)
    further = registry.services.lookup.descriptions()

    def text() -> str:
        rows = [(name, _shortened(found), *(c.get(name, "") for c in further.values())) for name, found in tags.items()]
        return columns(("model", "tags", *further), rows)

    return tags, text


def _shortened(tags: list[str], most: int = 3) -> str:
    more = f", and {len(tags) - most} more" if len(tags) > most else ""
    return ", ".join(tags[:most]) + more


def _show(registry: Registry, options: argparse.Namespace) -> Answer:
    raw = registry.config(options.name).raw()
    tags = [tag for _, tag in registry.list_pretrained(options.name)]
    name = registry.services.resolve(options.name).name
    described = registry.services.lookup.descriptions()
    further = {column: texts[name] for column, texts in described.items() if name in texts}
    rows = [(key, _value(value)) for key, value in raw.items()]
    data = {"config": raw, "pretrained": tags, "further": further}
    return data, lambda: facts([*rows, ("tags", "\n".join(tags)), *further.items()])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {inner}" for key, inner in value.items() if inner is not None)
    return str(value)


def _explain(registry: Registry, options: argparse.Namespace) -> Answer:
    explanation = registry.explain(options.name, options.pretrained, **_overrides(options.set))
    return explanation.to_dict(), lambda: str(explanation)


def _create(registry: Registry, options: argparse.Namespace) -> Answer:
    report = registry.report(created(registry, options, options.device))
    return report.to_dict(), lambda: str(report)


def _overrides(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` settings; values are JSON where they can be, else text."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise OverrideError(f"--set {setting}: expected KEY=VALUE, such as --set image_size=336.")
        known = (*FLAT_OVERRIDES, *NESTED_OVERRIDES)
        if key not in known:
            raise OverrideError(f"--set {setting}: unknown key.{did_you_mean(key, known)} Keys are {', '.join(known)}.")
        try:
            overrides[key] = json.loads(value)
        except ValueError:
            overrides[key] = value
    return overrides
