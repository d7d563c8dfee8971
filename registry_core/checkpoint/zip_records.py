"""The records of a zip archive, each where the archive's directory says, and none over another."""

from __future__ import annotations

import zipfile

from registry_core.checkpoint.file import CheckpointFile
from registry_core.errors import CheckpointError

MOST_METADATA = 16 << 20
"""Bytes of a record that describes others, such as `data.pkl`. Those of the largest models have a tenth of it."""

_LOCAL_HEADER = b"PK\x03\x04"
_LOCAL_HEADER_SIZE = 30  # the file name and the extra field follow; bytes 26 and 28 hold their lengths
_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of a record's flags
_CHUNK = 1 << 20


class ZipRecords:
    """The records of an open archive.

    Args:
        file: The file.

    Attributes:
        names: Of the records, in the order of the directory.

    Raises:
        CheckpointError: The file is truncated, its directory is damaged, or two records have one name.
    """

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self.archive = _open(file)
        self.names = self.archive.namelist()
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise file.damaged(f"its zip directory lists the record {twice!r:.80} twice", name=twice)
        self._locations: dict[str, int | None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.archive.NameToInfo

    def size(self, name: str) -> int:
        """Return the size of a record's content in bytes, as the directory states it."""
        return self.archive.getinfo(name).file_size

    def metadata(self, name: str) -> bytes:
        """Return a whole record that describes others.

        Raises:
            CheckpointError: The record is larger than any such record, or damaged.
        """
        if self.size(name) > MOST_METADATA:
            raise self._file.damaged(
                f"its record {name!r:.80} claims {self.size(name):,} bytes, at most {MOST_METADATA:,} are read",
                name=name,
            )
        return self.read(name, 0, self.size(name))

    def read(self, name: str, begin: int, length: int) -> bytes:
        """Return bytes of a record's content, decompressed.

        Raises:
            CheckpointError: The record is damaged, or shorter than the directory states.
        """
        try:
            with self.archive.open(name) as record:
                while begin > 0 and (skipped := record.read(min(begin, _CHUNK))):
                    begin -= len(skipped)
                data = record.read(length)
        except Exception as error:  # zipfile raises errors of its own, of zlib and of struct
            raise self._file.damaged(f"its record {name!r:.80} could not be read ({error})", name=name) from error
        if len(data) < length:
            raise self._file.damaged(f"its record {name!r:.80} is shorter than the zip's directory states", name=name)
        return data

    def location(self, name: str) -> int | None:
        """Return where a record's content begins in the file, or None for a compressed record.

        Raises:
            CheckpointError: The record is not where the directory says.
        """
        if name not in self._locations:
            self._locations[name] = self._located(self.archive.getinfo(name))
        return self._locations[name]

    def refuse_overlaps(self) -> None:
        """Check that no two of the records whose location was asked for share bytes.

        Raises:
            CheckpointError: Two of them do, so that changing one tensor would change another.
        """
        end, before = 0, ""
        for name, begin in sorted(self._locations.items(), key=lambda item: (item[1] or 0, self.size(item[0]))):
            if begin is None or not self.size(name):
                continue
            if begin < end:
                raise self._file.damaged(f"its records {before!r:.80} and {name!r:.80} overlap", name=name)
            end, before = begin + self.size(name), name

    def _located(self, info: zipfile.ZipInfo) -> int | None:
        if info.flag_bits & _ENCRYPTED:
            raise self._file.damaged(f"its record {info.filename!r:.80} is encrypted", name=info.filename)
        header = bytes(self._file.bytes_at(info.header_offset, _LOCAL_HEADER_SIZE))
        name_size, extra_size = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        begin = info.header_offset + _LOCAL_HEADER_SIZE + name_size + extra_size
        stored = info.compress_type == zipfile.ZIP_STORED
        if (
            not header.startswith(_LOCAL_HEADER)
            or begin + info.compress_size > self.archive.start_dir
            or (stored and info.compress_size != info.file_size)
            or self._file.bytes_at(info.header_offset + _LOCAL_HEADER_SIZE, name_size) != _encoded_name(info)
        ):
            raise self._file.damaged(
                f"its record {info.filename!r:.80} is not where the zip's directory says", name=info.filename
            )
        return begin if stored else None


def _encoded_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437", "replace")


def _open(file: CheckpointFile) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file.stream)
    except zipfile.BadZipFile as error:
        # The directory is at the end of a zip: a file with the start of a zip and no directory was cut off.
        raise CheckpointError(
            f"{file.path} is truncated: it starts as a zip archive, but the directory at its end is missing ({error}); "
            f"the file has {file.size:,} bytes. Nothing was loaded.",
            path=file.path,
            found=file.size,
            advice="Download or copy the file again.",
        ) from error
    except Exception as error:
        raise file.damaged(f"its zip directory could not be read ({type(error).__name__}: {error})") from error
