"""Copy a file of this machine into the cache: from a mirror on a disk, or from another cache.

A copy is verified like a download.
"""

from __future__ import annotations

import logging
from pathlib import Path

from registry_core.fetch.contract import AbsentError, FetchContext, Fetched
from registry_core.fetch.jobs import (
    DownloadJob,
    cached,
    check_space,
    fetch_error,
    fetch_exclusively,
    verify_and_commit,
    write_error,
)
from registry_core.fetch.partial_file import PartialFile, PartialMetadata
from registry_core.fetch.progress import reporting
from registry_core.fetch.responses import TransferError
from registry_core.fetch.sources import without_secrets

_CHUNK = 1 << 20

logger = logging.getLogger(__name__)


def copied(job: DownloadJob, origin: Path, context: FetchContext, commit: str = "") -> Fetched:
    """Return the file from the cache. It is copied there if necessary.

    Args:
        job: The file.
        origin: Path to copy from.
        context: The circumstances.
        commit: Commit of the repository that the file belongs to.

    Raises:
        AbsentError: `origin` does not exist or cannot be read.
        IntegrityError: The content of `origin` is not the expected one.
        FetchError: The cache cannot be written.
    """
    return cached(job) or fetch_exclusively(job, context, lambda: _copy(job, origin, context, commit))


def _copy(job: DownloadJob, origin: Path, context: FetchContext, commit: str) -> None:
    try:
        source = origin.open("rb")
    except OSError as error:
        raise AbsentError(
            f"Copying {job.url} from {origin} failed, since the file could not be read: {error.strerror}. Nothing was "
            "copied.",
            url=job.url,
            path=origin,
        ) from error
    logger.info("Copying %s from %s to %s", without_secrets(job.source), origin, job.path)
    with source, reporting(job.path.name, context) as report:
        try:
            partial = PartialFile(job.path)
        except OSError as error:
            raise write_error(job, error, context) from error
        try:
            total = origin.stat().st_size
            partial.describe(PartialMetadata(job.url, total=total, commit=commit))
            check_space(partial)
            while chunk := source.read(_CHUNK):
                partial.write(chunk)
                report(partial.size, total)
            verify_and_commit(job, str(origin), partial)
        except TransferError as failure:
            raise fetch_error(job, str(origin), failure, partial, context) from failure.__cause__
        except OSError as error:
            raise write_error(job, error, context) from error
        finally:
            partial.abandon(keep=False)
