"""Run Python code in a new process, in which nothing is imported yet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

# These take about a second to import, or are not installed on a machine that only lists models.
HEAVY = ("torch", "torchvision", "PIL", "numpy", "transformers", "timm")


def ask_python(code: str, *arguments: str, without: Iterable[str] = ()) -> Any:
    """Run code in a new process, and return the JSON that it prints.

    Args:
        code: Python code that prints JSON on its last line. `sys` is imported already.
        *arguments: Its sys.argv[1:].
        without: Modules that cannot be imported in the process.

    Raises:
        AssertionError: The code failed. The message contains its output.
    """
    blocked = f"import sys; sys.modules.update(dict.fromkeys({tuple(without)!r}))\n"
    # -P: modules in the current folder must not shadow installed ones.
    command = [sys.executable, "-P", "-c", blocked + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    if done.returncode:
        condition = f" without {', '.join(without)}" if without else ""
        raise AssertionError(f"This code failed in a new process{condition}:\n{code}\n{done.stderr or done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])
