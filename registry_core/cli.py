"""The command `registry-core`: what the registry knows, as tables for people and JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from registry_core.errors import OverrideError, RegistryError
from registry_core.factory import Registry
from registry_core.render import columns, facts

Command = Callable[[Registry, argparse.Namespace], tuple[Any, Callable[[], str]]]
"""Gives the data for a program, and the text for a person."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where the registry said no.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    options = _parser().parse_args(arguments)
    registry = Registry()
    try:
        data, text = options.run(registry, options)
    except RegistryError as error:
        print(f"registry-core: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(data, indent=2, default=str) if options.json else text())  # noqa: T201
    return 0


def _list(registry: Registry, options: argparse.Namespace) -> tuple[Any, Callable[[], str]]:
    names = registry.list_models(options.pattern)
    tags: dict[str, list[str]] = {name: [] for name in names}
    for model, tag in registry.list_pretrained():
        if model in tags:
            tags[model].append(tag)
    return tags, lambda: columns(("model", "tags"), ((name, _shortened(found)) for name, found in tags.items()))


def _shortened(tags: list[str], most: int = 3) -> str:
    more = f", and {len(tags) - most} more" if len(tags) > most else ""
    return ", ".join(tags[:most]) + more


def _show(registry: Registry, options: argparse.Namespace) -> tuple[Any, Callable[[], str]]:
    raw = registry.config(options.name).raw()
    tags = [tag for _, tag in registry.list_pretrained(options.name)]
    rows = [(key, _value(value)) for key, value in raw.items()]
    return {"config": raw, "pretrained": tags}, lambda: facts([*rows, ("tags", "\n".join(tags))])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {inner}" for key, inner in value.items() if inner is not None)
    return str(value)


def _explain(registry: Registry, options: argparse.Namespace) -> tuple[Any, Callable[[], str]]:
    explanation = registry.explain(options.name, options.pretrained, **_overrides(options.set))
    return explanation.to_dict(), lambda: str(explanation)


def _create(registry: Registry, options: argparse.Namespace) -> tuple[Any, Callable[[], str]]:
    names = ("pretrained", "device", "precision", "tower", "mmap", "weights_of", "cache_dir")
    chosen = {name: getattr(options, name) for name in names}
    model = registry.create(options.name, strict=not options.lenient, **chosen, **_overrides(options.set))
    report = registry.report(model)
    return report.to_dict(), lambda: str(report)


def _overrides(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` settings; values are JSON where they can be, else text."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise OverrideError(f"--set {setting}: expected KEY=VALUE, such as --set image_size=336.")
        try:
            overrides[key] = json.loads(value)
        except ValueError:
            overrides[key] = value
    return overrides


def _plugins(registry: Registry, options: argparse.Namespace) -> tuple[Any, Callable[[], str]]:
    del options
    registry.list_models()  # a plugin that fails at its first hook is shown as well
    rows = [(p.name, p.distribution, p.version, p.location, str(p.error or "")) for p in registry.plugins()]
    headers = ("plugin", "distribution", "version", "module", "error")
    return [dict(zip(headers, row, strict=True)) for row in rows], lambda: columns(headers, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry-core", description="CLIP-family models by name.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        command.set_defaults(run=run)
        return command

    add("list", _list, "models and their tags").add_argument("pattern", nargs="?", default="*", help="such as 'ViT-*'")
    add("show", _show, "a model's config and tags").add_argument("name")
    for name, run, about in (
        ("explain", _explain, "where a model's config and weights come from, and whose code answers"),
        ("create", _create, "create a model and print its load report"),
    ):
        command = add(name, run, about)
        command.add_argument("name")
        command.add_argument("--pretrained", metavar="TAG_OR_PATH")
        command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a config key")
    command.add_argument("--device", default="cpu")
    command.add_argument("--precision", default="fp32")
    command.add_argument("--tower", choices=("image", "text"))
    command.add_argument("--lenient", action="store_true", help="load what fits, report the rest")
    command.add_argument("--mmap", action="store_true", help="map the file instead of reading it")
    command.add_argument("--weights-of", metavar="TAG", help="the tag whose file the path is")
    command.add_argument("--cache-dir", metavar="FOLDER")
    add("plugins", _plugins, "the plugins found, and what is wrong with those that do not work")
    return parser
