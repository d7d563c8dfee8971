"""What a command of the command line is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from registry_core.factory import Registry

Answer = tuple[Any, Callable[[], str]]
"""The data for a program, and what makes the text for a person of it."""

Command = Callable[[Registry, argparse.Namespace], Answer | None]
"""What a command does; None where it has printed its answer itself."""

Adder = Callable[[str, Command, str], argparse.ArgumentParser]
"""Adds a command by name, function and one line of help; its arguments go on the parser that comes back."""
