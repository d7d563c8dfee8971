"""What a command is, and the options that every command has: `--config` and `--verbose`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from registry_core.cli.configs import add_config_option
from registry_core.registry import Registry

Answer = tuple[Any, Callable[[], str]]
"""The result of a command: data for programs, and a function that returns the text for people."""

Command = Callable[[Registry, argparse.Namespace], Answer | None]
"""Runs a command. Returns None if the command has printed its result itself."""

Adder = Callable[[str, Command, str], argparse.ArgumentParser]
"""Adds a command with a name, a function and a line of help. Returns its parser, for the command's own arguments."""

_VERBOSE = "verbose_of_"
_LEVELS = (None, logging.INFO, logging.DEBUG)


def add_common_options(parser: argparse.ArgumentParser, level: str) -> None:
    """Give a parser the options that every command has.

    Args:
        parser: The parser of the whole command line, of a command, or of an action of a command.
        level: Name of the parser's level. Each level stores the options under names of its own, since argparse lets
            the inner parser overwrite the values of the outer one.
    """
    add_config_option(parser, level)
    parser.add_argument(
        "-v",
        "--verbose",
        dest=_VERBOSE + level,
        action="count",
        default=0,
        help="log to stderr which plugin answers, and what is built; -vv logs more",
    )


@contextmanager
def logging_to_stderr(options: argparse.Namespace) -> Iterator[None]:
    """Log to standard error as `-v` and `-vv` ask for, and restore the logger afterwards."""
    count = sum(value for key, value in vars(options).items() if key.startswith(_VERBOSE))
    level = _LEVELS[min(count, len(_LEVELS) - 1)]
    if level is None:
        yield
        return
    logger, handler = logging.getLogger("registry_core"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    former = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(former)
        logger.removeHandler(handler)
