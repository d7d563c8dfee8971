"""The folder of fetched files: complete, verified ones only, each with a record of what it is beside it.

    hub/<organisation>--<name>/<revision>/<file>      files of hub repositories
    url/<host>/<16 digits>/<file>                     files at URLs
    <file>.record                                     its SHA-256, length and time, and where it came from

A file is looked at whenever it is used: where its length or its time is not the recorded one, its SHA-256 decides. The
folder can be copied to another machine, and be shared or read-only.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_cache_path

from registry_core.arguments import path_of

ENVIRONMENT = "REGISTRY_CORE_CACHE"
_RECORD = ".record"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a cached file.

    Attributes:
        sha256: of all of it, taken while it came.
        size: in bytes.
        time: of its last change, in nanoseconds.
        source: what it is, the same on every machine: a URL, or `hf-hub:organisation/name@revision/file`.
        url: where it came from.
        commit: of the repository, where the server said it.
        fetched: when, as ISO 8601 in UTC.
    """

    sha256: str
    size: int
    time: int
    source: str
    url: str
    commit: str = ""
    fetched: str = ""

    @classmethod
    def now(cls, sha256: str, path: Path, source: str, url: str, commit: str) -> Record:
        """The record of a file that has just come."""
        status = path.stat()
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(sha256, status.st_size, status.st_mtime_ns, source, url, commit, moment)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the cache, with its record if it has a readable one."""

    path: Path
    record: Record | None

    @property
    def problem(self) -> str:
        """What is wrong with it, found by reading it in full; empty if nothing is."""
        if self.record is None:
            return "it has no record"
        try:
            size = self.path.stat().st_size
            if size != self.record.size:
                return f"it has {size:,} bytes, expected {self.record.size:,}"
            found = _sha256(self.path)
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        return "" if found == self.record.sha256 else f"its SHA-256 is {found}, expected {self.record.sha256}"


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The argument, else REGISTRY_CORE_CACHE, else the system's folder for caches. Nothing is created."""
    said, chosen = ("cache_dir", given) if given else (ENVIRONMENT, os.environ.get(ENVIRONMENT))
    return path_of(said, chosen) if chosen else user_cache_path("registry_core")


def record_of(path: Path) -> Record | None:
    """The record of a file, as it stands; None where there is none that can be read."""
    known = {field.name: field.type for field in fields(Record)}
    try:
        found = json.loads(record_path(path).read_text(encoding="utf-8"))
        record = Record(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    sound = all(isinstance(getattr(record, key), int if kind == "int" else str) for key, kind in known.items())
    return record if sound else None


def cached_record(path: Path) -> Record | None:
    """The record of a file that is there and has its recorded length; nothing is read of the file."""
    record = record_of(path)
    try:
        return record if record is not None and path.stat().st_size == record.size else None
    except OSError:
        return None


def trusted_record(path: Path, source: str, sha256_prefix: str = "") -> Record | None:
    """The record of a file that may be used.

    A file whose time is not the recorded one was copied here or tampered with: its SHA-256 is taken, and where it is
    right the new time is recorded.

    Args:
        path: of the file.
        source: what it has to be.
        sha256_prefix: what its SHA-256 has to begin with.
    """
    record = cached_record(path)
    if record is None or record.source != source or not record.sha256.startswith(sha256_prefix):
        return None
    try:
        time = path.stat().st_mtime_ns
        if time == record.time:
            return record
        if _sha256(path) != record.sha256:
            return None
    except OSError:
        return None
    renewed = replace(record, time=time)
    with suppress(OSError):  # a cache of somebody else's: the hash is taken again next time
        _write_record(path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.note"), path, renewed)
    return renewed


def keep(part: Path, path: Path, record: Record) -> None:
    """Move a verified file to its place. The record goes first, so that a file without one is never complete.

    Between the two moves an older file may stand beside the new record: its time is not the recorded one, so its hash
    is taken and found wrong.

    Raises:
        OSError: the folder cannot be written.
    """
    _write_record(part.with_suffix(".note"), path, record)
    part.replace(path)


def entries(folder: Path) -> list[Entry]:
    """Every file in the cache, by path."""
    return [Entry(path, record_of(path)) for path in _files(folder) if not _is_beside(path)]


def unfinished(folder: Path) -> list[Path]:
    """What downloads that broke off have left, to go on from."""
    return [path for path in _files(folder) if path.suffix in {".part", ".note"}]


def remove(path: Path, folder: Path) -> None:
    """Take a file and its record out of the cache, and the folders that are empty then.

    Raises:
        OSError: it cannot be removed.
    """
    path.unlink(missing_ok=True)
    record_path(path).unlink(missing_ok=True)
    for above in path.parents:
        if above == folder or folder not in above.parents:
            return
        try:
            above.rmdir()
        except OSError:  # not empty
            return


def record_path(path: Path) -> Path:
    """Where the record of a file is."""
    return path.with_name(path.name + _RECORD)


def _is_beside(path: Path) -> bool:
    return path.suffix in {_RECORD, ".part", ".note", ".lock"}


def _files(folder: Path) -> Iterator[Path]:
    """All files of the two parts of the cache; whatever else lies in the folder is not ours."""
    for part in ("hub", "url"):
        yield from sorted(path for path in (folder / part).rglob("*") if path.is_file())


def _write_record(temporary: Path, path: Path, record: Record) -> None:
    temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    temporary.replace(record_path(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
