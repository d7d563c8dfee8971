"""An open checkpoint file: exact reads at an offset, and no surprise when the file is shorter than it says."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from registry_core.checkpoint.index import LazyTensor, Stored
from registry_core.errors import CheckpointError

HEAD_SIZE = 4096


class CheckpointFile:
    """A file opened once for all that is read from it, so that a replaced file cannot be mixed with the old one.

    Raises:
        CheckpointError: the path is a folder, does not exist or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.is_dir():
                held = sorted(entry.name for entry in path.iterdir())
                inside = f" It holds {', '.join(held[:8])}." if held else " It is empty."
                raise CheckpointError(f"{path} is a folder, expected a checkpoint file.{inside} Name the file itself.")
            if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
                raise CheckpointError(f"{path} is no regular file. Copy what it gives into a file, and name that.")
            self.stream = path.open("rb", buffering=0)
        except OSError as error:
            raise CheckpointError(
                f"{path} could not be opened: {error.strerror or error}. Check the path and its permissions."
            ) from error
        self.size = os.fstat(self.stream.fileno()).st_size
        self._beside: list[CheckpointFile] = []
        self.head = bytes(self.bytes_at(0, min(HEAD_SIZE, self.size)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        for file in self._beside:
            file.stream.close()

    def beside(self, name: str) -> CheckpointFile:
        """Another file of the same folder, open for as long as this one is.

        Raises:
            CheckpointError: see the class.
        """
        file = CheckpointFile(self.path.with_name(name))
        self._beside.append(file)
        return file

    def bytes_at(self, offset: int, size: int) -> bytearray:
        """Exactly `size` bytes from `offset`, in memory of their own.

        Raises:
            CheckpointError: the file ends before.
        """
        if offset + size > self.size:  # before memory is taken: the size may be nonsense
            raise self.truncated(offset + size)
        data = bytearray(size)
        self.read_into(memoryview(data), offset)
        return data

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill memory with the bytes from `offset` on.

        Raises:
            CheckpointError: the file ends before.
        """
        end = offset + len(target)
        self.stream.seek(offset)
        while target:
            count = self.stream.readinto(target)
            if not count:  # shortened since it was opened
                raise self.truncated(end)
            target = target[count:]

    def tensor(self, dtype: str, shape: tuple[int, ...], stored: Stored) -> LazyTensor:
        """A tensor whose elements lie in the file as they are.

        Raises:
            CheckpointError: they would lie beyond the end of the file.
        """
        if stored.offset + stored.size > self.size:
            raise self.truncated(stored.offset + stored.size)

        def load() -> object:
            from registry_core.checkpoint.read import read_one

            return read_one(self, stored.offset, dtype, shape)

        return LazyTensor(dtype, shape, load, Stored(stored.offset, stored.size, self))  # type: ignore[arg-type]

    def truncated(self, needed: int) -> CheckpointError:
        """The error for a file that ends too early."""
        return CheckpointError(
            f"{self.path} is truncated: its own index needs at least {needed:,} bytes, the file has {self.size:,}. "
            "An interrupted download or copy leaves such a file. Nothing was loaded; fetch it again."
        )

    def damaged(self, what: str) -> CheckpointError:
        """The error for a file that is recognised but does not hold together."""
        return CheckpointError(f"{self.path} is damaged: {what}. Nothing was loaded; fetch or save it again.")
