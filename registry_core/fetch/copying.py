"""A file of this machine into the cache: from a mirror on a disk, or from another cache. Verified like a download."""

from __future__ import annotations

from pathlib import Path

from registry_core.fetch.answers import TroubleError
from registry_core.fetch.contract import AbsentError, FetchContext, Fetched
from registry_core.fetch.jobs import Job, alone, cached, check_space, failed, unwritable, verify_and_keep
from registry_core.fetch.parts import Note, Part
from registry_core.fetch.progress import reporting

_CHUNK = 1 << 20


def copied(job: Job, origin: Path, context: FetchContext, commit: str = "") -> Fetched:
    """The file from the cache, or copied into it.

    Args:
        job: what it is.
        origin: where it lies.
        context: the circumstances.
        commit: of the repository that it is from.

    Raises:
        AbsentError: nothing is there.
        IntegrityError: it holds other bytes than expected.
        FetchError: it could not be written.
    """
    return cached(job) or alone(job, context, lambda: _copy(job, origin, context, commit))


def _copy(job: Job, origin: Path, context: FetchContext, commit: str) -> None:
    try:
        source = origin.open("rb")
    except OSError as error:
        raise AbsentError(
            f"{job.url} would be at {origin}, which could not be read: {error.strerror}. Nothing was copied."
        ) from error
    with source, reporting(job.path.name, context) as report:
        try:
            part = Part(job.path)
        except OSError as error:
            raise unwritable(job, error, context) from error
        try:
            total = origin.stat().st_size
            part.describe(Note(job.url, total=total, commit=commit))
            check_space(part)
            while chunk := source.read(_CHUNK):
                part.write(chunk)
                report(part.size, total)
            verify_and_keep(job, str(origin), part)
        except TroubleError as trouble:
            raise failed(job, str(origin), trouble, part, context) from trouble.__cause__
        except OSError as error:
            raise unwritable(job, error, context) from error
        finally:
            part.leave(keep=False)
