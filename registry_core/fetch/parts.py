"""Files on their way: each under a temporary name of its process, beside a note that says how to go on with it.

    model.safetensors.5f3a90c1-4711-9b2e04d1.part    the bytes so far, always a beginning of the file
    model.safetensors.5f3a90c1-4711-9b2e04d1.note    whose bytes they are

A process that died leaves both; the next one takes them over, and its hash starts with what is there.
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
_WORTH_KEEPING = 1 << 20  # less is fetched again sooner than it is explained
_NOBODY = 0  # in place of a process number: whoever comes may go on with it
_ABANDONED_AFTER = 900.0  # seconds; no living process pauses for so long


@dataclass(frozen=True, slots=True)
class Note:
    """What a part is of.

    Attributes:
        url: that it comes from.
        validator: the server's ETag or date of these bytes, for If-Range; empty where it gave none.
        total: the bytes in all, where they are known.
        expected: the SHA-256 or the beginning of it, where it is known.
        commit: of the repository, where the server said it.
    """

    url: str
    validator: str = ""
    total: int | None = None
    expected: str = ""
    commit: str = ""

    @property
    def resumable(self) -> bool:
        """Whether a rest that is fetched later can be told from the rest of another file."""
        return bool(self.validator or self.expected)


class Part:
    """A file on its way, open for writing.

    Args:
        final: where it goes.
        left: what a dead process left of it, taken over; its bytes are read once, for the hash.
        note: of what was left.

    Attributes:
        size: bytes so far.
        pieces: how many answers they came in.
        note: None until a server has answered.
    """

    def __init__(self, final: Path, left: Path | None = None, note: Note | None = None) -> None:
        self.final, self.path, self.note = final, left or _own_path(final), note
        self.size = self.pieces = 0
        self._open("xb" if left is None else "r+b")
        while left is not None and (chunk := self._file.read(_CHUNK)):
            self._digest.update(chunk)
            self.size += len(chunk)
            self.pieces = 1

    @classmethod
    def begin(cls, final: Path, url: str) -> Part:
        """A part for a file: one that a dead process left, or a new one. Other leavings are cleared away."""
        for left in abandoned(final):
            note = _read_note(left)
            if left.suffix != ".part":
                continue
            if note is None or note.url != url or not note.resumable:
                _clear(left)
                continue
            own = _own_path(final)
            _write_note(own, note)
            try:
                left.rename(own)  # one process wins; the others find nothing
            except OSError:
                _clear(own)
                continue
            _clear(left)
            return cls(final, own, note)
        for left in abandoned(final):  # notes whose part is gone
            _clear(left)
        return cls(final)

    def _open(self, mode: str) -> None:
        self._file = self.path.open(mode, buffering=0)
        self._digest = hashlib.sha256()
        self.size = self.pieces = 0

    @property
    def sha256(self) -> str:
        """Of the bytes so far."""
        return self._digest.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether every byte is known to be here."""
        return self.note is not None and self.note.total is not None and self.size == self.note.total

    def describe(self, note: Note) -> None:
        """Say what the bytes are of; before the first of them is written."""
        if note != self.note:
            self.note = note
            _write_note(self.path, note)

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            OSError: the disk is full, or gone.
        """
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Begin anew, in another file: nobody's late writes to the old one can reach it."""
        self._file.close()
        _clear(self.path)
        self.note, self.path = None, _own_path(self.final)
        self._open("xb")

    def close(self) -> bool:
        """Bring everything to the disk. False where another process has taken the file for abandoned."""
        os.fsync(self._file.fileno())
        ours = os.fstat(self._file.fileno()).st_ino
        self._file.close()
        try:
            return self.path.stat().st_ino == ours
        except OSError:
            return False

    def leave(self, *, keep: bool) -> bool:
        """End without the file; whether the part was kept for the next call to go on from."""
        self._file.close()
        if keep and self.size >= _WORTH_KEEPING and self.note is not None and self.note.resumable:
            free = _own_path(self.final, _NOBODY)
            with suppress(OSError):
                _write_note(free, self.note)
                self.path.rename(free)
                _clear(self.path)
                return True
        _clear(self.path)
        return False


def abandoned(final: Path) -> Iterator[Path]:
    """Parts and notes of a file whose process is dead, the largest part first."""
    mine = re.compile(re.escape(final.name) + r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(?:part|note)")
    found = []
    with suppress(OSError):
        for path in final.parent.iterdir():
            match = mine.fullmatch(path.name)
            if match is None:
                continue
            with suppress(OSError):
                status = path.stat()
                dead = match[1] == _machine() and not _alive(int(match[2]))
                if dead or time.time() - status.st_mtime > _ABANDONED_AFTER:
                    found.append((path.suffix == ".part", status.st_size, path))
    return iter([path for *_, path in sorted(found, reverse=True)])


def growth(final: Path) -> frozenset[tuple[str, int]]:
    """The parts of a file and their sizes: while they change, somebody is getting on."""
    sizes = set()
    with suppress(OSError):
        for path in final.parent.iterdir():
            if path.name.startswith(f"{final.name}.") and path.suffix == ".part":
                with suppress(OSError):
                    sizes.add((path.name, path.stat().st_size))
    return frozenset(sizes)


def note_path(part: Path) -> Path:
    """Where the note of a part is."""
    return part.with_suffix(".note")


def _own_path(final: Path, pid: int | None = None) -> Path:
    owner = os.getpid() if pid is None else pid
    return final.with_name(f"{final.name}.{_machine()}-{owner}-{secrets.token_hex(4)}.part")


@cache
def _machine() -> str:
    """Within what process numbers mean something: a host, and on Linux its namespace (a container has its own)."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    if pid == _NOBODY:
        return False
    if os.name == "nt":  # there os.kill ends the process whatever the signal
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _clear(part: Path) -> None:
    for path in (part.with_suffix(".part"), note_path(part)):
        with suppress(OSError):
            path.unlink()


def _write_note(part: Path, note: Note) -> None:
    note_path(part).write_text(json.dumps(asdict(note)), encoding="utf-8")


def _read_note(part: Path) -> Note | None:
    try:
        return Note(**json.loads(note_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
