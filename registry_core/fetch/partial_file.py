"""Partial files: downloads that are not complete yet. Each has a temporary name of its process, and metadata.

    model.safetensors.5f3a90c1-4711-9b2e04d1.part    the bytes so far, always from the beginning of the file
    model.safetensors.5f3a90c1-4711-9b2e04d1.note    the metadata: which file the bytes belong to

A process that dies leaves both files. The next process takes them over and hashes the existing bytes first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_CHUNK = 1 << 20
_MIN_KEPT = 1 << 20  # bytes; a smaller partial file is downloaded again
_NO_PROCESS = 0  # replaces the process number in the name: any process may resume the partial file
_ABANDONED_AFTER = 900.0  # seconds; no living process pauses for so long


@dataclass(frozen=True, slots=True)
class PartialMetadata:
    """Which file a partial file belongs to. The `.note` file holds these keys.

    Attributes:
        url: The address that the bytes were downloaded from.
        validator: The server's ETag or date of these bytes, for If-Range. Empty if the server stated none.
        total: Size of the complete file in bytes, or None if it is not known.
        expected: The expected SHA-256 or the beginning of it. Empty if it is not known.
        commit: Commit of the repository, if the server stated it.
    """

    url: str
    validator: str = ""
    total: int | None = None
    expected: str = ""
    commit: str = ""

    @property
    def resumable(self) -> bool:
        """Whether a later download can prove that the remaining bytes belong to the same file."""
        return bool(self.validator or self.expected)


class PartialFile:
    """A partial file, open for writing.

    Args:
        final: The path that the complete file will have.
        existing: A partial file to take over from a dead process. Its bytes are read once, for the hash.
        metadata: The metadata of the existing partial file.

    Attributes:
        size: Number of bytes so far.
        pieces: Number of responses that the bytes arrived in.
        metadata: None until a server has answered.
    """

    def __init__(self, final: Path, existing: Path | None = None, metadata: PartialMetadata | None = None) -> None:
        self.final, self.path, self.metadata = final, existing or _new_path(final), metadata
        self.size = self.pieces = 0
        self._open("xb" if existing is None else "r+b")
        while existing is not None and (chunk := self._file.read(_CHUNK)):
            self._digest.update(chunk)
            self.size += len(chunk)
            self.pieces = 1

    @classmethod
    def resume_or_create(cls, final: Path, url: str) -> PartialFile:
        """Return a partial file that a dead process has left, or a new one. Other abandoned files are removed.

        Raises:
            OSError: The folder cannot be written.
        """
        for existing in abandoned(final):
            metadata = _read_metadata(existing)
            if existing.suffix != ".part":
                continue
            if metadata is None or metadata.url != url or not metadata.resumable:
                _remove(existing)
                continue
            new = _new_path(final)
            _write_metadata(new, metadata)
            try:
                existing.rename(new)  # only one process succeeds
            except OSError:
                _remove(new)
                continue
            _remove(existing)
            return cls(final, new, metadata)
        for existing in abandoned(final):  # metadata without a partial file
            _remove(existing)
        return cls(final)

    def _open(self, mode: str) -> None:
        self._file = self.path.open(mode, buffering=0)
        self._digest = hashlib.sha256()
        self.size = self.pieces = 0

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far."""
        return self._digest.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether the size of the complete file is known and reached."""
        return self.metadata is not None and self.metadata.total is not None and self.size == self.metadata.total

    def describe(self, metadata: PartialMetadata) -> None:
        """Write the metadata. This happens before the first byte is written."""
        if metadata != self.metadata:
            self.metadata = metadata
            _write_metadata(self.path, metadata)

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: The disk is full, or no longer available.
        """
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Discard the bytes and start again in a new file, which late writes of other processes cannot reach."""
        self._file.close()
        _remove(self.path)
        self.metadata, self.path = None, _new_path(self.final)
        self._open("xb")

    def close(self) -> bool:
        """Flush the file to the disk and close it.

        Returns:
            Whether the file still belongs to this process. Another process may have taken it over as abandoned.
        """
        os.fsync(self._file.fileno())
        own_inode = os.fstat(self._file.fileno()).st_ino
        self._file.close()
        try:
            return self.path.stat().st_ino == own_inode
        except OSError:
            return False

    def abandon(self, *, keep: bool) -> bool:
        """Close the file without completing it.

        Args:
            keep: Leave the partial file for the next call, provided that it is large enough and can be resumed.

        Returns:
            Whether the partial file was kept.
        """
        self._file.close()
        if keep and self.size >= _MIN_KEPT and self.metadata is not None and self.metadata.resumable:
            unowned = _new_path(self.final, _NO_PROCESS)
            with suppress(OSError):
                _write_metadata(unowned, self.metadata)
                self.path.rename(unowned)
                _remove(self.path)
                return True
        _remove(self.path)
        return False


def abandoned(final: Path) -> Iterator[Path]:
    """Yield the partial files and metadata of a file whose process is dead, the largest partial file first."""
    pattern = re.compile(re.escape(final.name) + r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(?:part|note)")
    found = []
    with suppress(OSError):
        for path in final.parent.iterdir():
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            with suppress(OSError):
                status = path.stat()
                dead = match[1] == _machine() and not _alive(int(match[2]))
                if dead or time.time() - status.st_mtime > _ABANDONED_AFTER:
                    found.append((path.suffix == ".part", status.st_size, path))
    return iter([path for *_, path in sorted(found, reverse=True)])


def partial_sizes(final: Path) -> frozenset[tuple[str, int]]:
    """Return the names and sizes of all partial files of a file. They change while a process makes progress."""
    sizes = set()
    with suppress(OSError):
        for path in final.parent.iterdir():
            if path.name.startswith(f"{final.name}.") and path.suffix == ".part":
                with suppress(OSError):
                    sizes.add((path.name, path.stat().st_size))
    return frozenset(sizes)


def metadata_path(partial: Path) -> Path:
    """Return the path of a partial file's metadata."""
    return partial.with_suffix(".note")


def _new_path(final: Path, pid: int | None = None) -> Path:
    owner = os.getpid() if pid is None else pid
    return final.with_name(f"{final.name}.{_machine()}-{owner}-{secrets.token_hex(4)}.part")


@cache
def _machine() -> str:
    """Identify where process numbers are valid: a host, and on Linux its PID namespace (a container has its own)."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    if pid == _NO_PROCESS:
        return False
    if os.name == "nt":  # on Windows os.kill ends the process, whatever the signal is
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _remove(partial: Path) -> None:
    for path in (partial.with_suffix(".part"), metadata_path(partial)):
        with suppress(OSError):
            path.unlink()


def _write_metadata(partial: Path, metadata: PartialMetadata) -> None:
    metadata_path(partial).write_text(json.dumps(asdict(metadata)), encoding="utf-8")


def _read_metadata(partial: Path) -> PartialMetadata | None:
    try:
        return PartialMetadata(**json.loads(metadata_path(partial).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
