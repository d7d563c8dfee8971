"""The command that runs other programs: run."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from registry_core.cli.command import Adder
from registry_core.compat import stand_in
from registry_core.errors import RegistryError
from registry_core.registry import Registry


def add_commands(add: Adder) -> None:
    """Add the command of this module."""
    run = add("run", _run, "run a program written for open_clip, unchanged, on the registry")
    run.add_argument("program", help="a command, a .py file, or -m and a module")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the program")
    run.add_argument("-m", dest="is_module", action="store_true", help="the program is a module")


def _run(registry: Registry, options: argparse.Namespace) -> None:
    """Run the program. The exit status of the command is that of the program."""
    del registry
    command = _command(options.program, is_module=options.is_module)
    done = subprocess.run([*command, *options.arguments], env=environment(), check=False)  # noqa: S603 - the user's program
    # A negative status is a signal that ended the program. Shells report it as 128 plus the signal.
    options.exit_status = done.returncode if done.returncode >= 0 else 128 - done.returncode


def environment() -> dict[str, str]:
    """Return the environment of this process, changed so that `import open_clip` imports registry_core's layer."""
    paths = [str(Path(stand_in.__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _command(program: str, *, is_module: bool) -> list[str]:
    if is_module:
        return [sys.executable, "-m", program]
    if program.endswith(".py"):
        return [sys.executable, program]
    # Commands of this Python environment come first, so that it need not be activated.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(program, path=path)
    if found is None:
        raise RegistryError(
            f"run: there is no command {program!r} in {sysconfig.get_path('scripts')} or on PATH. Nothing was run.",
            name=program,
            argument="program",
            advice="Install it into this environment, or give a .py file, or -m and a module.",
        )
    return [found]
