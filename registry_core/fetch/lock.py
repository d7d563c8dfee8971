"""One download of a file at a time, as far as locks work.

A lock only saves bandwidth; correct files do not depend on it. Each process writes to its own temporary file. Some
network file systems grant a lock to every process or have no locks. There the file is downloaded twice and is still
correct. No process waits for a process that makes no progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.fetch.partial_file import partial_sizes

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL_INTERVAL = 0.5  # seconds between two checks of the other processes' progress


@contextmanager
def download_lock(path: Path, *, done: Callable[[], bool], stall: float) -> Iterator[None]:
    """Wait until this process may download a file, the file exists, or waiting has no point.

    Args:
        path: Path of the file.
        done: Returns whether another process has finished the file.
        stall: Seconds without progress of the other processes after which this process stops waiting.
    """
    from filelock import FileLock

    lock = FileLock(path.with_name(f"{path.name}.lock"), mode=0o666)
    _wait_for(lock, path, done, stall)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows cannot remove an open file; the empty lock file is used again
                Path(lock.lock_file).unlink()
            with suppress(OSError):
                lock.release()


def _wait_for(lock: BaseFileLock, path: Path, done: Callable[[], bool], stall: float) -> None:
    from filelock import Timeout

    sizes, last_progress = partial_sizes(path), time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_POLL_INTERVAL, poll_interval=_POLL_INTERVAL / 5)
        except Timeout:
            if done():
                return
            now = partial_sizes(path)
            if now != sizes:
                sizes, last_progress = now, time.monotonic()
            if time.monotonic() - last_progress > stall:
                return
        except (OSError, NotImplementedError):  # this file system has no locks, or this process may not use them
            return
        else:
            return
