"""The folder of fetched files. It holds complete, verified files only, each next to a record that describes it.

    hub/<organisation>--<name>/<revision>/<file>      files of hub repositories
    url/<host>/<16 digits>/<file>                     files at URLs
    <file>.record                                     SHA-256, size, modification time and origin of the file

A file is compared with its record whenever it is used. A file of another size is not valid. If only the modification
time differs, the SHA-256 decides. The folder can be copied to another machine, and it can be shared or read-only.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from registry_core.arguments import path_of
from registry_core.fetch.digest import file_sha256
from registry_core.fetch.user_folders import user_cache
from registry_core.path_safety import OWN_SUFFIXES

ENVIRONMENT = "REGISTRY_CORE_CACHE"
_RECORD = ".record"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about a cached file. The record file holds these keys.

    Attributes:
        sha256: SHA-256 of the whole file, computed during the download.
        size: Size in bytes.
        time: Modification time in nanoseconds.
        source: Identity of the file, the same on every machine: a URL, or `hf-hub:organisation/name@revision/file`.
        url: The address that the file was fetched from.
        commit: Commit of the repository, if the server stated it.
        fetched: When the file was fetched, as ISO 8601 in UTC.
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
        """Return the record of a file that was just fetched; size and modification time are read from `path`."""
        status = path.stat()
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(sha256, status.st_size, status.st_mtime_ns, source, url, commit, moment)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the cache.

    Attributes:
        path: Path of the file.
        record: Its record, or None if there is no readable one.
    """

    path: Path
    record: Record | None

    @property
    def problem(self) -> str:
        """What is wrong with the file, or an empty string. The whole file is read."""
        if self.record is None:
            return "it has no record"
        try:
            size = self.path.stat().st_size
            if size != self.record.size:
                return f"it has {size:,} bytes, expected {self.record.size:,}"
            found = file_sha256(self.path)
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        return "" if found == self.record.sha256 else f"its SHA-256 is {found}, expected {self.record.sha256}"


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the given folder, else REGISTRY_CORE_CACHE, else the system's cache folder. It is not created.

    Raises:
        OverrideError: The argument or the variable is not a path.
        FetchError: There is no home folder; see `user_folders.user_cache`.
    """
    argument, chosen = ("cache_dir", given) if given else (ENVIRONMENT, os.environ.get(ENVIRONMENT))
    return path_of(argument, chosen) if chosen else user_cache()


def record_of(path: Path) -> Record | None:
    """Return the record of a file, or None if there is no readable one. It is not compared with the file."""
    known = {field.name: field.type for field in fields(Record)}
    try:
        found = json.loads(record_path(path).read_text(encoding="utf-8"))
        record = Record(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    valid = all(isinstance(getattr(record, key), int if kind == "int" else str) for key, kind in known.items())
    return record if valid else None


def cached_record(path: Path) -> Record | None:
    """Return the record of a file that exists with its recorded size, or None. The file is not read."""
    record = record_of(path)
    try:
        return record if record is not None and path.stat().st_size == record.size else None
    except OSError:
        return None


def trusted_record(path: Path, source: str, sha256_prefix: str = "") -> Record | None:
    """Return the record of a file that may be used, or None.

    If the modification time is not the recorded one, the file was copied here or tampered with. Its SHA-256 is then
    computed, and if that is right, the new time is recorded.

    Args:
        path: Path of the file.
        source: Identity that the file must have.
        sha256_prefix: What the SHA-256 must begin with.
    """
    record = cached_record(path)
    if record is None or record.source != source or not record.sha256.startswith(sha256_prefix):
        return None
    try:
        time = path.stat().st_mtime_ns
        if time == record.time:
            return record
        if file_sha256(path) != record.sha256:
            return None
    except OSError:
        return None
    renewed = replace(record, time=time)
    with suppress(OSError):  # a cache that this user cannot write: the next use computes the hash again
        _write_record(path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.note"), path, renewed)
    return renewed


def commit(temporary: Path, path: Path, record: Record) -> None:
    """Move a verified file to its final path. The record is moved first, so that a complete file always has a record.

    Between the two moves, an older file may be next to the new record. Its modification time is not the recorded one,
    so its hash is computed and found to be wrong.

    Args:
        temporary: The verified file.
        path: The final path.
        record: The record of the file.

    Raises:
        OSError: The folder cannot be written.
    """
    _write_record(temporary.with_suffix(".note"), path, record)
    temporary.replace(path)


def entries(folder: Path) -> list[Entry]:
    """Return every fetched file in a cache folder, sorted by path."""
    return [Entry(path, record_of(path)) for path in _files(folder) if path.suffix not in OWN_SUFFIXES]


def unfinished(folder: Path) -> list[Path]:
    """Return the partial files in a cache folder and their metadata, which interrupted downloads have left."""
    return [path for path in _files(folder) if path.suffix in {".part", ".note"}]


def remove(path: Path, folder: Path) -> None:
    """Remove a file and its record from a cache folder, and the folders that are empty afterwards.

    Raises:
        OSError: The file cannot be removed.
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
    """Return the path of a file's record."""
    return path.with_name(path.name + _RECORD)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files in `hub` and `url`. Other files in the folder do not belong to the cache."""
    for part in ("hub", "url"):
        yield from sorted(path for path in (folder / part).rglob("*") if path.is_file())


def _write_record(temporary: Path, path: Path, record: Record) -> None:
    temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    temporary.replace(record_path(path))
