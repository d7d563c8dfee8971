"""A checkpoint in several files: an index, in JSON, that says in which file beside it each tensor is.

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
from registry_core.safe_names import objection

INDEX_SUFFIX = ".index.json"
_MOST_BYTES = 100_000_000  # an index has a line a tensor; more is none


def shard_names(path: Path) -> list[str]:
    """The files that an index names, each once.

    Raises:
        CheckpointError: the file is no index, or names files that are not beside it.
    """
    with CheckpointFile(path) as file:
        weight_map = _weight_map(file)
        return sorted(set(weight_map.values())) if weight_map is not None else []


def read_contents(
    file: CheckpointFile, read_shard: Callable[[CheckpointFile], tuple[str, dict[str, LazyTensor]]]
) -> tuple[str, dict[str, LazyTensor]] | None:
    """The format and the tensors of an index and its shards, or None where the JSON is no index.

    Args:
        file: the index, open; its shards stay open with it.
        read_shard: reads one shard.

    Raises:
        CheckpointError: a shard is not there, or lacks a tensor that the index places in it.
    """
    weight_map = _weight_map(file)
    if weight_map is None:
        return None
    shards = sorted(set(weight_map.values()))
    absent = [name for name in shards if not file.path.with_name(name).is_file()]
    if absent:
        raise CheckpointError(
            f"{file.path} is the index of a checkpoint in {len(shards)} files, of which {len(absent)} are not beside "
            f"it: {', '.join(absent[:5])}. Nothing was loaded; copy or download them into {file.path.parent}."
        )
    contents: dict[str, dict[str, LazyTensor]] = {}
    kinds = set()
    for name in shards:
        kind, contents[name] = read_shard(file.beside(name))
        kinds.add(kind)
    lacking = [name for name, shard in weight_map.items() if name not in contents[shard]]
    if lacking:
        raise file.damaged(f"it places {lacking[0]!r} in {weight_map[lacking[0]]}, which does not hold it")
    return (
        f"{' and '.join(sorted(kinds))}, in {len(shards)} shards",
        {name: contents[shard][name] for name, shard in weight_map.items()},
    )


def _weight_map(file: CheckpointFile) -> dict[str, str] | None:
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
        reason = objection(shard) if isinstance(shard, str) else "it is no text"
        if reason:
            raise CheckpointError(
                f"{file.path} names {str(shard)[:80]!r} as a file beside it: {reason}. Nothing was read."
            )
    return weight_map
