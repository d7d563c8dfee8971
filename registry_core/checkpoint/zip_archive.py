"""Checkpoints that are zips: archives of torch.save and TorchScript, read as data, and NumPy's (npz.py).

The first two have stored (uncompressed) records: `data.pkl` describes the objects, `data/<key>` hold the storages.
https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from registry_core.checkpoint import npz
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor, Stored
from registry_core.checkpoint.stored import stored_tensor
from registry_core.checkpoint.unpickle import ScriptObject, StorageRef, TensorRef, read_pickle
from registry_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

_LOCAL_HEADER = b"PK\x03\x04"
_LOCAL_HEADER_SIZE = 30  # the file name and the extra field follow; bytes 26 and 28 hold their lengths
_MEMBER_LIST = re.compile(r"__(parameters|buffers)__\s*=\s*\[(.*?)\]", re.DOTALL)


def read_contents(file: CheckpointFile) -> tuple[str, Any]:
    """Return the format and the saved object, with each tensor as a LazyTensor.

    Raises:
        UnsafeCheckpointError: The archive would run code.
        CheckpointError: The archive is truncated, damaged or another kind of zip.
    """
    archive = _open(file)
    try:
        if npz.is_npz(archive):
            return "NumPy archive (.npz)", npz.read_contents(file, archive)
        return _Archive(file, archive).contents()
    except CheckpointError:
        raise
    except Exception as error:
        raise file.damaged(f"its contents could not be read ({type(error).__name__}: {error})") from error


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


class _Archive:
    def __init__(self, file: CheckpointFile, archive: zipfile.ZipFile) -> None:
        self._file = file
        self._zip = archive
        pickles = [name for name in self._zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            names = self._zip.namelist()
            raise CheckpointError(
                f"{file.path} is a zip archive but not a torch checkpoint: it does not hold exactly one "
                f"`<name>/data.pkl`. It holds {', '.join(names[:5])}. Nothing was loaded.",
                path=file.path,
                expected="<name>/data.pkl",
                found=names,
                advice="Unpack it, or convert it to .safetensors.",
            )
        self._root = pickles[0].removesuffix("data.pkl")
        self._locations: dict[str, Stored | None] = {}

    def contents(self) -> tuple[str, Any]:
        if self._has("byteorder") and (order := self._record("byteorder")) != b"little":
            raise self._file.damaged(
                "it was written on a big-endian machine, which is not supported", expected=b"little", found=order
            )
        saved = read_pickle(self._record("data.pkl"), str(self._file.path))
        if isinstance(saved, ScriptObject):
            members = dict(self._script_members())
            return "TorchScript archive, read as data", dict(self._flatten(saved, "", members))
        return "torch zip archive", self._with_tensors(saved)

    def _has(self, name: str) -> bool:
        return self._root + name in self._zip.NameToInfo

    def _record(self, name: str) -> bytes:
        return self._zip.read(self._root + name)

    def _with_tensors(self, node: Any) -> Any:
        """Return the saved object with each TensorRef replaced by a LazyTensor."""
        match node:
            case TensorRef():
                return self._tensor(node)
            case Mapping():
                return {key: self._with_tensors(value) for key, value in node.items()}
            case list() | tuple():
                return [self._with_tensors(value) for value in node]
            case _:
                return node

    def _tensor(self, ref: TensorRef) -> LazyTensor:
        item = ITEM_SIZES[ref.dtype]
        spanned = 1 + sum((extent - 1) * stride for extent, stride in zip(ref.shape, ref.strides, strict=True))
        length = spanned * item if prod(ref.shape) else 0
        begin = ref.offset * item
        record = self._zip.getinfo(f"{self._root}data/{ref.storage.key}")
        if ref.offset < 0 or min((*ref.shape, *ref.strides), default=0) < 0 or begin + length > record.file_size:
            raise self._file.damaged(
                f"a tensor of shape {ref.shape} does not fit its storage {ref.storage.key}",
                name=ref.storage.key,
                found=ref.shape,
            )
        location = self._location(ref.storage)
        if location is not None and ref.strides == _contiguous_strides(ref.shape):
            return stored_tensor(self._file, ref.dtype, ref.shape, location.offset + begin, length)
        return self._unpacked_tensor(ref, begin, length)

    def _unpacked_tensor(self, ref: TensorRef, begin: int, length: int) -> LazyTensor:
        """Return a tensor of a compressed record, or one with other strides than its file bytes."""

        def load() -> torch.Tensor:
            from registry_core.checkpoint.read import strided_from_bytes

            name = f"data/{ref.storage.key}"
            try:
                data = self._record(name)[begin : begin + length]
            except Exception as error:
                raise self._file.damaged(f"its record {name} could not be read ({error})", name=name) from error
            return strided_from_bytes(bytearray(data), ref.dtype, ref.shape, ref.strides)

        return LazyTensor(ref.dtype, ref.shape, load)

    def _location(self, storage: StorageRef) -> Stored | None:
        """Return where the bytes of a storage are in the file, or None for a compressed record."""
        if storage.key not in self._locations:
            name = f"data/{storage.key}"
            info = self._zip.getinfo(self._root + name)
            header = self._file.bytes_at(info.header_offset, _LOCAL_HEADER_SIZE)
            if not header.startswith(_LOCAL_HEADER):
                raise self._file.damaged(f"its record {name} is not where the zip's directory says", name=name)
            skipped = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            location = Stored(info.header_offset + _LOCAL_HEADER_SIZE + skipped, info.file_size)
            self._locations[storage.key] = location if info.compress_type == zipfile.ZIP_STORED else None
        return self._locations[storage.key]

    def _flatten(
        self, module: ScriptObject, prefix: str, members: Mapping[str, frozenset[str]]
    ) -> Iterator[tuple[str, LazyTensor]]:
        """Yield the state dict of a TorchScript module: what its class declares as parameters and buffers."""
        declared = members.get(module.class_name)
        for name, value in module.attributes.items():
            if isinstance(value, ScriptObject):
                yield from self._flatten(value, f"{prefix}{name}.", members)
            elif isinstance(value, TensorRef) and (declared is None or name in declared):
                yield prefix + name, self._tensor(value)

    def _script_members(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield each class with the names of its parameters and buffers, as its source in `code/` lists them.

        The source is only searched for those lists. Plain tensor attributes, such as masks, are not part of the state.
        """
        code = self._root + "code/"
        for name in self._zip.namelist():
            if name.startswith(code) and name.endswith(".py"):
                module = name.removeprefix(code).removesuffix(".py").replace("/", ".")
                for part in re.split(r"^class ", self._zip.read(name).decode(), flags=re.MULTILINE)[1:]:
                    class_name = re.split(r"[(:]", part, maxsplit=1)[0]
                    listed = " ".join(found[1] for found in _MEMBER_LIST.findall(part))
                    yield f"{module}.{class_name}", frozenset(re.findall(r'"([^"]+)"', listed))


def _contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))
