"""A file that should be in the cache: whether it exists there, and that only one process at a time fetches it."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from registry_core.errors import ErrorFacts, FetchError, IntegrityError
from registry_core.fetch.cache import Record, commit, trusted_record
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.lock import download_lock
from registry_core.fetch.partial_file import PartialFile, PartialMetadata
from registry_core.fetch.responses import OTHER_FILE_ADVICE, TransferError
from registry_core.fetch.retry import LONGEST_WAIT
from registry_core.fetch.sources import without_secrets

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """A file to fetch into the cache.

    Attributes:
        source: Identity of the file, the same on every machine. It is stored in the record.
        url: The address of the file, before mirrors are applied.
        path: Path of the file in the cache.
        sha256_prefix: What the SHA-256 begins with, as far as it is known.
        token: Token for the server of `url` only.
    """

    source: str
    url: str
    path: Path
    sha256_prefix: str = ""
    token: str = field(default="", repr=False)


def cached(job: DownloadJob) -> Fetched | None:
    """Return the file from the cache if it exists there and is valid, or None."""
    record = trusted_record(job.path, job.source, job.sha256_prefix)
    if record is None:
        return None
    logger.debug("Found %s in the cache at %s", without_secrets(job.source), job.path)
    return Fetched(job.path, cached=True, sha256=record.sha256)


def fetch_exclusively(job: DownloadJob, context: FetchContext, fetch_file: Callable[[], None]) -> Fetched:
    """Fetch a file while no other process does. If another process has finished it in the meantime, return that file.

    Args:
        job: The file.
        context: The circumstances.
        fetch_file: Puts the file into the cache.

    Raises:
        FetchError: The cache cannot be written; or whatever `fetch_file` raises.
        IntegrityError: The file was changed right after it was fetched.
    """
    try:
        job.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(job, error, context) from error
    stall = 2 * context.settings.read_timeout + LONGEST_WAIT
    with download_lock(job.path, done=lambda: cached(job) is not None, stall=stall):
        found = cached(job)
        if found is None:
            fetch_file()
            found = cached(job)
    if found is None:
        raise IntegrityError(
            f"{job.path} was changed or removed right after it was fetched.",
            path=job.path,
            url=job.url,
            expected="the fetched file",
            found="a changed or missing file",
            advice="Check whether other programs write to that folder.",
        )
    return found


def check_space(partial: PartialFile) -> None:
    """End a download at its beginning if the disk has too little space.

    Raises:
        TransferError: The rest of the file needs more space than the disk has.
    """
    folder = partial.path.parent
    missing = (partial.metadata.total or 0) - partial.size if partial.metadata else 0
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise TransferError(
            f"{missing:,} more bytes are needed, but {folder} has {free:,} free",
            expected=missing,
            found=free,
            advice="Free some space (`registry-core cache list` lists the cached files), or choose another disk with "
            "cache_dir= or REGISTRY_CORE_CACHE.",
        )


def verify_and_commit(job: DownloadJob, location: str, partial: PartialFile) -> None:
    """Move a partial file to its final path if its bytes are the expected ones.

    Args:
        job: The file.
        location: The address or path that the bytes were fetched from.
        partial: The partial file, with all bytes.

    Raises:
        TransferError: The bytes are not the expected ones, or another process has taken over the partial file.
    """
    metadata = partial.metadata or PartialMetadata(location)
    expected = job.sha256_prefix or metadata.expected
    if not partial.sha256.startswith(expected):
        raise TransferError(
            f"the SHA-256 of the file should begin with {expected}, but is {partial.sha256}",
            error_type=IntegrityError,
            retryable=partial.pieces > 1,  # the pieces may belong to two files; one attempt in one piece decides
            retry_after=0,
            discard=True,
            expected=expected,
            found=partial.sha256,
            advice=OTHER_FILE_ADVICE,
        )
    if not partial.close():
        reason = "another process took over the partial file"
        raise TransferError(reason, retryable=True, retry_after=0, discard=True)
    record = Record.now(partial.sha256, partial.path, job.source, location, metadata.commit)
    commit(partial.path, job.path, record)
    logger.info("Fetched %s: %d bytes at %s", without_secrets(job.source), partial.size, job.path)


def fetch_error(
    job: DownloadJob, location: str, failure: TransferError, partial: PartialFile, context: FetchContext
) -> FetchError:
    """Return the caller's error for a failure that no retry resolved. The partial file is kept or removed.

    Args:
        job: The file.
        location: The address or path that the bytes were fetched from.
        failure: The failure of the last attempt.
        partial: The partial file.
        context: The circumstances.
    """
    size = partial.size
    kept = partial.abandon(keep=failure.retryable and not failure.discard)
    outcome = f"{size:,} bytes were kept, and the next call resumes from them." if kept else "Nothing was kept."
    asked = job.url if location == job.url else f"{job.url} from {location}"
    facts: ErrorFacts = {
        "url": location,
        "path": job.path,
        "advice": f"Check the network and its proxies (HTTPS_PROXY, NO_PROXY). {context.advice}",
        **failure.facts,
    }
    return failure.error_type(f"Fetching {asked} failed: {failure.reason}. {outcome}", **facts)


def write_error(job: DownloadJob, error: OSError, context: FetchContext) -> FetchError:
    """Return the error for a cache that cannot be written."""
    full = error.errno in NO_SPACE
    return FetchError(
        f"{job.url} could not be written to {job.path.parent}: {error.strerror or error}."
        + (" The partial file was removed to free its space." if full else ""),
        url=job.url,
        path=job.path.parent,
        advice=f"{'Free some space, or choose' if full else 'Choose'} another folder with cache_dir= or "
        f"REGISTRY_CORE_CACHE. The cache is {context.folder}.",
    )
