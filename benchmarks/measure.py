"""Measures runs fairly: interleaved, after a warm-up, in processes of their own where that is the question."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Runs = dict[str, list[float]]

# Linux hands ru_maxrss on to a child: it would be at least what this process, full of models, ever held.
# VmHWM starts anew.
_PRINT_PEAK = """
import resource, sys
if sys.platform == "linux":
    print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
else:  # macOS counts bytes
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def interleaved(kinds: Mapping[str, Callable[[], float]], rounds: int) -> Runs:
    """Figures of each kind of run, taken in turn (A B C A B C ...), so that a slow minute slows all of them.

    Args:
        kinds: name -> one run, which returns its figure.
        rounds: how many figures of each; a first round of all is thrown away.
    """
    figures: Runs = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, run in kinds.items():
            figure = run()
            if number:
                figures[name].append(figure)
    return figures


def seconds(action: Callable[[], object]) -> Callable[[], float]:
    """One run of `action` in this process, timed; what it made is gone before the next run."""

    def run() -> float:
        gc.collect()
        start = time.perf_counter()
        made = action()
        elapsed = time.perf_counter() - start
        del made
        return elapsed

    return run


def process_seconds(code: str) -> Callable[[], float]:
    """One run of a whole Python process, from start to exit."""

    def run() -> float:
        start = time.perf_counter()
        _child(code)
        return time.perf_counter() - start

    return run


def process_peak(code: str) -> Callable[[], float]:
    """The largest memory, in bytes, that a Python process ever held at once."""

    def run() -> float:
        return int(_child(f"{code}\n{_PRINT_PEAK}").split()[-1])

    return run


def median(figures: list[float]) -> float:
    """The middle figure."""
    return statistics.median(figures)


def cache_file(path: Path) -> None:
    """Read a file once, so that no run pays for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def _child(code: str) -> str:
    finished = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"a measured process failed:\n{code}\n{finished.stderr}")
    return finished.stdout
