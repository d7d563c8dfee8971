"""The command about plugins."""

from __future__ import annotations

import argparse

from registry_core.cli.command import Adder, Answer
from registry_core.factory import Registry
from registry_core.render import columns


def add_commands(add: Adder) -> None:
    """Put the commands of this file on the command line."""
    add("plugins", _plugins, "the plugins found, and what is wrong with those that do not work")


def _plugins(registry: Registry, options: argparse.Namespace) -> Answer:
    del options
    registry.list_models()  # a plugin that fails at its first hook is shown as well
    rows = [(p.name, p.distribution, p.version, p.location, str(p.error or "")) for p in registry.plugins()]
    headers = ("plugin", "distribution", "version", "module", "error")
    return [dict(zip(headers, row, strict=True)) for row in rows], lambda: columns(headers, rows)
