"""An open checkpoint file: exact reads at an offset, and an error if the file is shorter than its index claims."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from registry_core.errors import CheckpointError, listing

HEAD_SIZE = 4096
_MOST_ENTRIES = 8  # of a folder, in a message


class CheckpointFile:
    """A file that is opened once for all reads, so that parts of an old and a new file are never mixed.

    Args:
        path: The file.

    Attributes:
        path: The file.
        stream: The open file, unbuffered.
        size: Size of the file in bytes when it was opened.
        head: The first HEAD_SIZE bytes, or the whole file if it is shorter.

    Raises:
        CheckpointError: The path is a folder, does not exist or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _refuse_special_files(path)
            self.stream = path.open("rb", buffering=0)
        except OSError as error:
            raise CheckpointError(
                f"{path} could not be opened: {error.strerror or error}.",
                path=path,
                advice="Check the path and its permissions.",
            ) from error
        self.size = os.fstat(self.stream.fileno()).st_size
        self._siblings: list[CheckpointFile] = []
        self.head = bytes(self.bytes_at(0, min(HEAD_SIZE, self.size)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        for file in self._siblings:
            file.stream.close()

    def open_sibling(self, name: str) -> CheckpointFile:
        """Open another file of the same folder. It is closed together with this file.

        Raises:
            CheckpointError: As for the class.
        """
        file = CheckpointFile(self.path.with_name(name))
        self._siblings.append(file)
        return file

    def bytes_at(self, offset: int, size: int) -> bytearray:
        """Return exactly `size` bytes from `offset` on, in their own memory.

        Raises:
            CheckpointError: The file ends before that.
        """
        if offset + size > self.size:  # before memory is allocated: a damaged file may claim any size
            raise self.truncated(offset + size)
        data = bytearray(size)
        self.read_into(memoryview(data), offset)
        return data

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill memory with the bytes from `offset` on.

        Raises:
            CheckpointError: The file ends before that.
        """
        end = offset + len(target)
        self.stream.seek(offset)
        while target:
            count = self.stream.readinto(target)
            if not count:  # the file was shortened after it was opened
                raise self.truncated(end)
            target = target[count:]

    def truncated(self, needed: int) -> CheckpointError:
        """Return the error for a file that ends too early.

        Args:
            needed: The size in bytes that the file must have at least.
        """
        size = os.fstat(self.stream.fileno()).st_size  # now: the file may have been shortened after it was opened
        return CheckpointError(
            f"{self.path} is truncated: its own index needs at least {needed:,} bytes, but the file has "
            f"{size:,}. An interrupted download or copy leaves such a file. Nothing was loaded.",
            path=self.path,
            expected=needed,
            found=size,
            advice="Download or copy the file again.",
        )

    def damaged(
        self, reason: str, *, name: str | None = None, expected: object = None, found: object = None
    ) -> CheckpointError:
        """Return the error for a file whose format is recognised but whose content is invalid.

        Args:
            reason: What is wrong.
            name: The tensor or record that the reason is about, or None.
            expected: What should be stored there, or None.
            found: What is stored there instead, or None.
        """
        return CheckpointError(
            f"{self.path} is damaged: {reason}. Nothing was loaded.",
            path=self.path,
            name=name,
            expected=expected,
            found=found,
            advice="Download or save the file again.",
        )


def _refuse_special_files(path: Path) -> None:
    if path.is_dir():
        entries = sorted(entry.name for entry in path.iterdir())
        content = f"The folder holds {listing(entries, _MOST_ENTRIES)}." if entries else "The folder is empty."
        raise CheckpointError(
            f"{path} is a folder, expected a checkpoint file. {content}",
            path=path,
            expected="a checkpoint file",
            found="a folder",
            advice="Give the path of the file itself.",
        )
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise CheckpointError(
            f"{path} is not a regular file.",
            path=path,
            expected="a regular file",
            advice="Copy its content into a file, and give the path of that file.",
        )
