"""The commands about plugins: plugins, doctor, new-plugin."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry_core.cli.command import Adder, Answer
from registry_core.registry import Registry
from registry_core.render import columns


def add_commands(add: Adder) -> None:
    """Add the commands of this module."""
    add("plugins", _plugins, "list the plugins that were found, and the errors of those that do not work")
    add("doctor", _doctor, "check the installation: torch, extras, plugins, conflicts, cache")
    new = add("new-plugin", _new_plugin, "write a package with your own architecture, which works immediately")
    new.add_argument("name", help="such as my_clip: name of the plugin and its package, and prefix of its models")
    new.add_argument("--folder", type=Path, help="where to write the package; by default a new folder of that name")


def _plugins(registry: Registry, options: argparse.Namespace) -> Answer:
    from registry_core.diagnose.conflicts import find_conflicts

    del options
    registry.services.probe_plugins()  # some plugins fail only when a hook is called
    conflicts = find_conflicts(registry.services)
    data: list[dict[str, Any]] = [
        {
            "plugin": p.name,
            "distribution": p.distribution,
            "version": p.version,
            "module": p.location,
            "file": p.file,
            "api": p.api or None,
            "state": p.state,
            "error": str(p.error or ""),
            "notes": [*p.notes, *(str(conflict) for conflict in conflicts if p in conflict.plugins)],
        }
        for p in registry.plugins()
    ]
    headers = ("plugin", "distribution", "version", "module", "state", "error", "notes")

    def text() -> str:
        return columns(headers, ([_cell(row[key]) for key in headers] for row in data))

    return data, text


def _cell(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value)


def _doctor(registry: Registry, options: argparse.Namespace) -> Answer:
    from registry_core.diagnose.doctor import describe, examine

    findings = examine(registry.services)
    options.exit_status = int(any(finding.state == "problem" for finding in findings))
    return [asdict(finding) for finding in findings], lambda: describe(findings)


def _new_plugin(registry: Registry, options: argparse.Namespace) -> Answer:
    from registry_core.scaffold import next_steps, write_plugin

    taken = {plugin.name: str(plugin) for plugin in registry.plugins()}
    written = write_plugin(options.name, options.folder, taken)
    return {"folder": str(written.folder), "files": [str(file) for file in written.files]}, lambda: next_steps(written)
