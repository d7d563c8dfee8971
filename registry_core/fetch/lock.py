"""One download at a time, as far as locks go.

A lock saves bandwidth; it is not what keeps files right. Each process writes to a temporary file of its own, so where
locks lie (some network file systems grant them to everybody, or know none) the same file is fetched twice and stays
right. And nobody waits for a process that makes no progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry_core.fetch.parts import growth

_LOOK = 0.5  # seconds between two looks at what the others do


@contextmanager
def one_at_a_time(path: Path, *, done: Callable[[], bool], stall: float) -> Iterator[None]:
    """Wait until this process may fetch a file, the file is there, or waiting has no point.

    Args:
        path: the file.
        done: says that another process has brought it.
        stall: seconds without any progress of the others, after which they are no longer waited for.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f"{path.name}.lock"), mode=0o666)
    seen, since = growth(path), time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_LOOK, poll_interval=_LOOK / 5)
            break
        except Timeout:
            if done():
                break
            now = growth(path)
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > stall:
                break
        except (OSError, NotImplementedError):  # this file system has no locks, or not for us
            break
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # on Windows an open file stays; it is empty and used again
                Path(lock.lock_file).unlink()
            with suppress(OSError):
                lock.release()
