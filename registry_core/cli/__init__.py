"""The command `registry-core`. It prints what the registry knows, as tables for people or as JSON for programs.

Each module with an `add_commands` holds the commands about one subject. command.py says what a command is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO, TextIOWrapper
from typing import TextIO

from registry_core.cli import cache, classify, models, plugins, run, save
from registry_core.cli.command import Command, add_common_options, logging_to_stderr
from registry_core.cli.configs import with_configs
from registry_core.errors import PluginError, RegistryError
from registry_core.registry import Registry
from registry_core.render import printable

_INTERRUPTED = 130  # what shells return for a command that Ctrl-C ended
_MODULES = (models, classify, save, cache, plugins, run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Arguments of the command line; None means those of the process.

    Returns:
        The exit status: 0; 1 if the registry raised an error, a command found a problem or the output could not be
        written; 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an encoding that lacks a letter must not end the command
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    options.output = sys.stdout or StringIO()  # it is None if the caller closed it
    try:
        # What a plugin or a library prints must not get into the output, which programs read.
        with redirect_stdout(sys.stderr):
            return _run(options)
    except RegistryError as error:
        _complain("\n  caused by: ".join([f"{error}", *_causes(error)]))
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:  # such as `| head`
        _discard_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        _discard_output()
        _complain(f"the output could not be written: {error.strerror or error}")
    return 1


def _run(options: argparse.Namespace) -> int:
    registry = Registry()
    with logging_to_stderr(options), with_configs(registry, options):
        answer = options.run(registry, options)
        if answer is not None:
            data, text = answer
            shown = json.dumps(data, indent=2, default=str) if options.json else printable(text())
            print(_encodable(shown, options.output), file=options.output, flush=True)
    return int(options.exit_status)


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return a text whose lines of tables are dashes if the encoding of the stream has no others."""
    try:
        "─".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.replace("─", "-")
    return text


def _complain(text: str) -> None:
    with suppress(OSError):  # standard error may be closed too
        print(printable(f"registry-core: {text}"), file=sys.stderr, flush=True)  # noqa: T201


def _discard_output() -> None:
    """Point standard output nowhere: the interpreter flushes it at exit, which must not fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


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
