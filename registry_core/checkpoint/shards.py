"""A checkpoint in several files: a JSON index names, for each tensor, the file next to it that holds the tensor.

https://huggingface.co/docs/transformers/big_models#sharded-checkpoints
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import CheckpointError
from registry_core.path_safety import objection

INDEX_SUFFIX = ".index.json"
_MOST_BYTES = 100_000_000  # an index has one line per tensor; a larger file is not an index

ReadShard = Callable[[CheckpointFile], tuple[str, dict[str, LazyTensor]]]
"""Reads one shard: returns its format and its tensors."""


def shard_names(path: Path) -> list[str]:
    """Return the names of the files that an index lists, each once; empty if the file is not an index.

    Raises:
        CheckpointError: The file cannot be opened, or lists a file outside its own folder.
    """
    with CheckpointFile(path) as file:
        weight_map = _weight_map(file)
        return sorted(set(weight_map.values())) if weight_map is not None else []


def read_contents(file: CheckpointFile, read_shard: ReadShard) -> tuple[str, dict[str, LazyTensor]] | None:
    """Return the format and the tensors of an index and its shards, or None if the JSON is not an index.

    Args:
        file: The index, open. Its shards stay open as long as the index does.
        read_shard: Reads one shard.

    Raises:
        CheckpointError: A shard does not exist, or lacks a tensor that the index assigns to it.
    """
    weight_map = _weight_map(file)
    if weight_map is None:
        return None
    shards = sorted(set(weight_map.values()))
    _refuse_absent(file, shards)
    contents: dict[str, dict[str, LazyTensor]] = {}
    formats = set()
    for name in shards:
        shard_format, contents[name] = read_shard(file.open_sibling(name))
        formats.add(shard_format)
    lacking = next((name for name, shard in weight_map.items() if name not in contents[shard]), None)
    if lacking is not None:
        raise file.damaged(
            f"it assigns the tensor {lacking!r} to {weight_map[lacking]}, which does not hold that tensor", name=lacking
        )
    return (
        f"{' and '.join(sorted(formats))}, in {len(shards)} shards",
        {name: contents[shard][name] for name, shard in weight_map.items()},
    )


def _refuse_absent(file: CheckpointFile, shards: list[str]) -> None:
    absent = [name for name in shards if not file.path.with_name(name).is_file()]
    if absent:
        raise CheckpointError(
            f"{file.path} is the index of a checkpoint in {len(shards)} files. {len(absent)} of them are not in the "
            f"same folder: {', '.join(absent[:5])}. Nothing was loaded.",
            path=file.path,
            name=absent[0],
            expected=shards,
            advice=f"Copy or download them into {file.path.parent}.",
        )


def _weight_map(file: CheckpointFile) -> dict[str, str] | None:
    """Return tensor name -> file name, or None if the file is not an index."""
    if file.size > _MOST_BYTES:
        return None
    try:
        index: Any = json.loads(file.bytes_at(0, file.size))
    except (ValueError, RecursionError):
        return None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict):
        return None
    for shard in weight_map.values():
        reason = objection(shard) if isinstance(shard, str) else "it is not a string"
        if reason:
            shown = str(shard)[:80]
            raise CheckpointError(
                f"{file.path} lists {shown!r}, which cannot be the name of a file in its folder: {reason}. Nothing "
                "was read.",
                path=file.path,
                name=shown,
                found=shard,
            )
    return weight_map
