"""torch.save's format before torch 1.6: a run of pickles, then the storages.

    magic number, protocol, machine, the saved object, the keys of the storages    five pickles
    for each key: the element count (8 bytes), then the elements

https://github.com/pytorch/pytorch/blob/main/torch/serialization.py, `_legacy_save`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor
from registry_core.checkpoint.pickle_reader import read_pickle
from registry_core.checkpoint.pickle_values import PickleError, StorageRef, TensorRef
from registry_core.checkpoint.stored import view_of_storage

MOST_PICKLED = 16 << 20
"""Bytes of pickles that are read: those of the largest models have a tenth of it, and reading takes a second a megabyte
at worst."""

_COUNT_SIZE = 8


def read_contents(file: CheckpointFile) -> Any:
    """Return the saved object, with each tensor as a LazyTensor.

    Raises:
        CheckpointError: The file is truncated, damaged, or holds what cannot be read as data.
    """
    data = bytes(file.bytes_at(0, min(file.size, MOST_PICKLED)))
    try:
        start = _skip_header(file, data)
        _, end, storages = read_pickle(data, lambda ref: ref, start)
        keys, end, _ = read_pickle(data, lambda ref: ref, end)
        places = _places(file, keys, storages, end)
        return read_pickle(data, partial(_tensor, file, places), start)[0]
    except PickleError as error:
        raise file.damaged(f"legacy torch file, {error}") from error


def _skip_header(file: CheckpointFile, data: bytes) -> int:
    """Return where the saved object begins: after the magic number, the protocol and the machine."""
    position = 0
    for _ in range(3):
        value, position, _ = read_pickle(data, lambda ref: ref, position)
    if type(value) is not dict or value.get("little_endian") is not True:
        raise file.damaged("it was written on a big-endian machine, which is not supported")
    return position


def _places(
    file: CheckpointFile, keys: Any, storages: dict[str, StorageRef], position: int
) -> dict[str, tuple[int, int]]:
    """Return where each storage begins, and its size in bytes."""
    if type(keys) is not list or not all(type(key) in {str, int} for key in keys):
        raise PickleError("its list of storages is not one")
    places: dict[str, tuple[int, int]] = {}
    for key in map(str, keys):
        storage = storages.get(key)
        if storage is None or key in places:
            raise PickleError("it lists a storage twice, or one that no tensor has")
        count = int.from_bytes(file.bytes_at(position, _COUNT_SIZE), "little", signed=True)
        size = count * ITEM_SIZES[storage.dtype]
        if count != storage.count:
            raise PickleError(f"a storage of {storage.count:,} elements is stored with {count:,}")
        position += _COUNT_SIZE
        if position + size > file.size:
            raise file.truncated(position + size)
        places[key] = position, size
        position += size
    return places


def _tensor(file: CheckpointFile, places: dict[str, tuple[int, int]], ref: TensorRef) -> LazyTensor:
    place = places.get(ref.storage.key)
    if place is None:
        raise PickleError("a tensor of a storage that is not in the file")
    begin, size = place
    return view_of_storage(file, ref, size, begin, lambda offset, length: bytes(file.bytes_at(begin + offset, length)))
