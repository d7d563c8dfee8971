"""Fair measurements: interleaved runs after a warm-up, and separate processes where a whole process is measured."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Runs = dict[str, list[float]]

# On Linux a child inherits ru_maxrss: it would be at least the peak of this process, which holds models. VmHWM starts
# at zero in the child.
_PRINT_PEAK = """
import resource, sys
if sys.platform == "linux":
    print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
else:  # macOS counts bytes
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def interleaved(kinds: Mapping[str, Callable[[], float]], rounds: int) -> Runs:
    """Measure each kind of run in turn (A B C A B C ...), so that a slow minute of the machine slows all of them.

    Args:
        kinds: Name -> one run, which returns its figure.
        rounds: Number of figures of each kind. One more round comes first and is dropped.
    """
    figures: Runs = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, run in kinds.items():
            figure = run()
            if number:
                figures[name].append(figure)
    return figures


def seconds(action: Callable[[], object]) -> Callable[[], float]:
    """Return a function that times one run of `action` in this process. The result is freed before the next run."""

    def run() -> float:
        gc.collect()
        start = time.perf_counter()
        made = action()
        elapsed = time.perf_counter() - start
        del made
        return elapsed

    return run


def process_seconds(code: str) -> Callable[[], float]:
    """Return a function that times a whole Python process, from start to exit."""

    def run() -> float:
        start = time.perf_counter()
        _child(code)
        return time.perf_counter() - start

    return run


def process_peak(code: str) -> Callable[[], float]:
    """Return a function that measures the peak memory of a Python process, in bytes."""

    def run() -> float:
        return int(_child(f"{code}\n{_PRINT_PEAK}").split()[-1])

    return run


def median(figures: list[float]) -> float:
    """Return the median."""
    return statistics.median(figures)


def cache_file(path: Path) -> None:
    """Read a file once, so that it is in the page cache and no run waits for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def _child(code: str) -> str:
    finished = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"A measured process failed:\n{code}\n{finished.stderr}")
    return finished.stdout
