"""Python in a process of its own: what is imported there is imported for the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

# Importing one of these costs a second, or is not possible on a machine that only lists models.
HEAVY = ("torch", "torchvision", "PIL", "numpy", "transformers", "timm")


def ask_python(code: str, *arguments: str, without: Iterable[str] = ()) -> Any:
    """The JSON that some code prints.

    Args:
        code: prints JSON on its last line.
        arguments: its sys.argv[1:].
        without: modules that cannot be imported in it.

    Raises:
        AssertionError: the code failed; with what it printed.
    """
    blocked = f"import sys; sys.modules.update(dict.fromkeys({tuple(without)!r}))\n"
    # -P: the folder that the tests were started in must not hide what is installed.
    command = [sys.executable, "-P", "-c", blocked + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    if done.returncode:
        lacking = f" without {', '.join(without)}" if without else ""
        raise AssertionError(f"This failed in a process of its own{lacking}:\n{code}\n{done.stderr or done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])
