"""The command `registry-core`. It prints what the registry knows, as tables for people or as JSON for programs.

Each module with an `add_commands` holds the commands about one subject. command.py says what a command is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from registry_core.cli import cache, classify, models, plugins, run, save
from registry_core.cli.command import Command, add_common_options, logging_to_stderr
from registry_core.cli.configs import with_configs
from registry_core.errors import PluginError, RegistryError
from registry_core.registry import Registry

_MODULES = (models, classify, save, cache, plugins, run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None means those of the process.

    Returns:
        The exit status: 0, or 1 if the registry raised an error or a command found a problem.
    """
    options = _parser().parse_args(arguments)
    registry = Registry()
    try:
        with logging_to_stderr(options), with_configs(registry, options):
            answer = options.run(registry, options)
            if answer is not None:
                data, text = answer
                print(json.dumps(data, indent=2, default=str) if options.json else text(), flush=True)  # noqa: T201
    except RegistryError as error:
        print("\n  caused by: ".join([f"registry-core: {error}", *_causes(error)]), file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:  # such as `| head`; the interpreter flushes stdout at exit, which must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(options.exit_status)


def _causes(error: BaseException) -> list[str]:
    """Return the messages of the plugin errors that an error was raised from."""
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    return [str(each) for each in causes if isinstance(each, PluginError)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry-core", description="CLIP-family models by name.")
    add_common_options(parser, "all")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        add_common_options(command, "command")
        command.set_defaults(run=run, exit_status=0)
        return command

    for module in _MODULES:
        module.add_commands(add)
    return parser
