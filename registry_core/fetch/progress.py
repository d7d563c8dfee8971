"""Who is told how far a download is: the caller's function, a bar on a terminal, or nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry_core.fetch.contract import FetchContext

Report = Callable[[int, int | None], None]


@contextmanager
def reporting(name: str, context: FetchContext) -> Iterator[Report]:
    """A function that is told the bytes here and the bytes in all."""
    told = context.progress
    if told is not None:
        yield lambda here, total: told(name, here, total)
        return
    if sys.stderr is None or not sys.stderr.isatty():
        yield _tell_nobody
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=name) as bar:

        def show(here: int, total: int | None) -> None:
            bar.total = total
            bar.update(here - bar.n)

        yield show


def _tell_nobody(here: int, total: int | None) -> None:
    del here, total
