"""The command `registry-core`: what the registry knows, as tables for people and JSON for programs.

Each file of this folder holds the commands about one thing, and puts them on the command line by `add_commands`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from registry_core.cli import cache, classify, models, plugins, run, save
from registry_core.cli.command import Command
from registry_core.cli.configs import add_config_option, with_configs
from registry_core.errors import PluginError, RegistryError
from registry_core.factory import Registry

_ROOMS = (models, classify, save, cache, plugins, run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where the registry said no or a command found a problem.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    options = _parser().parse_args(arguments)
    registry = Registry()
    try:
        with with_configs(registry, options):
            answer = options.run(registry, options)
            if answer is not None:
                data, text = answer
                print(json.dumps(data, indent=2, default=str) if options.json else text(), flush=True)  # noqa: T201
    except RegistryError as error:
        print("\n  caused by: ".join([f"registry-core: {error}", *_causes(error)]), file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:  # `| head` has seen enough; the interpreter's own flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(options.exit_status)


def _causes(error: BaseException) -> list[str]:
    """The registry's own errors behind an error: a broken plugin's, above all."""
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    return [str(each) for each in causes if isinstance(each, PluginError)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry-core", description="CLIP-family models by name.")
    add_config_option(parser, "all")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        add_config_option(command, "command")
        command.set_defaults(run=run, exit_status=0)
        return command

    for room in _ROOMS:
        room.add_commands(add)
    return parser
