"""One file that is to be in the cache: what it is, whether it is there, and one process at a time that brings it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from registry_core.cache import Record, keep, trusted_record
from registry_core.errors import FetchError, IntegrityError
from registry_core.fetch.answers import TroubleError
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.lock import one_at_a_time
from registry_core.fetch.parts import Note, Part
from registry_core.fetch.tries import LONGEST_WAIT

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Job:
    """A file to be had.

    Attributes:
        source: what the file is, the same on every machine; goes into the record.
        url: where it is asked for.
        path: its place in the cache.
        sha256_prefix: what its SHA-256 begins with, as far as it is known.
        token: for the server of `url` only.
    """

    source: str
    url: str
    path: Path
    sha256_prefix: str = ""
    token: str = field(default="", repr=False)


def cached(job: Job) -> Fetched | None:
    """The file from the cache, if it is there and right."""
    record = trusted_record(job.path, job.source, job.sha256_prefix)
    return None if record is None else Fetched(job.path, cached=True, sha256=record.sha256)


def alone(job: Job, context: FetchContext, bring: Callable[[], None]) -> Fetched:
    """Bring a file while no other process does; it may be here by the time that it is our turn.

    Raises:
        FetchError: the cache cannot be written; or whatever `bring` raises.
    """
    try:
        job.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(job, error, context) from error
    stall = 2 * context.settings.read_timeout + LONGEST_WAIT
    with one_at_a_time(job.path, done=lambda: cached(job) is not None, stall=stall):
        found = cached(job)
        if found is None:
            bring()
            found = cached(job)
    if found is None:
        raise IntegrityError(f"{job.path} was changed right after it was fetched. Do other programs write there?")
    return found


def check_space(part: Part) -> None:
    """Ends a download for which there is no room, before it begins.

    Raises:
        TroubleError: the disk has less room than the rest of the file needs.
    """
    missing = (part.note.total or 0) - part.size if part.note else 0
    free = shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise TroubleError(
            f"needs {missing:,} more bytes, and {part.path.parent} has {free:,} free",
            "Make room (`registry-core cache list` shows what is there), or choose another disk by cache_dir= or "
            "REGISTRY_CORE_CACHE.",
        )


def verify_and_keep(job: Job, url: str, part: Part) -> None:
    """Move a part into place whose bytes are the expected ones.

    Raises:
        TroubleError: they are not, or the part is no longer ours.
    """
    note = part.note or Note(url)
    expected = job.sha256_prefix or note.expected
    if not part.sha256.startswith(expected):
        raise TroubleError(
            f"gave other bytes than expected: the SHA-256 should begin with {expected}, is {part.sha256}",
            "A proxy or mirror may have answered with another file; try again from another network.",
            kind=IntegrityError,
            spoilt=True,
            again=part.pieces > 1,  # pieces of two different files: once more in one piece tells
            wait=0,
        )
    if not part.close():
        raise TroubleError("was taken by another process while it came", again=True, wait=0, spoilt=True)
    keep(part.path, job.path, Record.now(part.sha256, part.path, job.source, url, note.commit))


def failed(job: Job, url: str, trouble: TroubleError, part: Part, context: FetchContext) -> FetchError:
    """The error for the caller, when a trouble stays; the part is kept or removed."""
    size = part.size
    kept = part.leave(keep=trouble.again and not trouble.spoilt)
    asked = job.url if url == job.url else f"{job.url}, asked for at its mirror {url},"
    left = f"{size:,} bytes were kept, and the next call goes on from there." if kept else "Nothing was kept."
    advice = trouble.advice or f"Check the network and its proxies (HTTPS_PROXY, NO_PROXY). {context.advice}"
    return trouble.kind(f"{asked} {trouble.what}. {left} {advice}")


def unwritable(job: Job, error: OSError, context: FetchContext) -> FetchError:
    """The error for a cache that cannot be written."""
    full = error.errno in NO_SPACE
    return FetchError(
        f"{job.url} could not be written to {job.path.parent}: {error.strerror or error}. "
        + ("What had come was removed, to give its room back. Make room, or choose" if full else "Choose")
        + f" another folder by cache_dir= or REGISTRY_CORE_CACHE. The cache is {context.folder}."
    )
