"""Progress of a download: the caller's function, a progress bar on a terminal, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry_core.fetch.contract import FetchContext

Report = Callable[[int, int | None], None]


@contextmanager
def reporting(name: str, context: FetchContext) -> Iterator[Report]:
    """Yield a function that reports progress. It takes the bytes so far, and the bytes in total or None.

    Args:
        name: Name of the file.
        context: Its `progress` is called. If it is None, a progress bar is shown, provided that stderr is a terminal.
    """
    progress = context.progress
    if progress is not None:
        yield lambda received, total: progress(name, received, total)
        return
    if sys.stderr is None or not sys.stderr.isatty():
        yield _report_nothing
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=name) as bar:

        def show(received: int, total: int | None) -> None:
            bar.total = total
            bar.update(received - bar.n)

        yield show


def _report_nothing(received: int, total: int | None) -> None:
    del received, total
