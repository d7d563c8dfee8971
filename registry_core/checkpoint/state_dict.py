"""Finds the state dict in what was saved, and gives its names back as the module had them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import CheckpointError, listing

# Where training programs put the state dict; open_clip and DA-CLIP use the first.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")


def find_state_dict(contents: Any, origin: str) -> tuple[dict[str, LazyTensor], tuple[str, ...]]:
    """The named tensors in a saved object, and notes on where they were.

    Args:
        contents: what a format's reader gave.
        origin: the file, for messages.

    Raises:
        CheckpointError: there is no mapping of names to tensors where one is looked for.
    """
    found, notes = _unwrap(contents, ())
    if found is None:
        keys = listing(map(str, contents)) if isinstance(contents, Mapping) else type(contents).__name__
        raise CheckpointError(
            f"{origin} holds no state dict. Expected names with tensors, directly or under one of "
            f"{', '.join(_CONTAINERS)}; found: {keys or 'nothing'}. Nothing was loaded."
        )
    others = [name for name, value in found.items() if not isinstance(value, LazyTensor)]
    if others:
        notes = (*notes, f"entries that are no tensors passed over: {listing(others)}")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, LazyTensor)}
    return _without_wrappers(tensors, notes, origin)


def _unwrap(contents: Any, notes: tuple[str, ...]) -> tuple[Mapping[Any, Any] | None, tuple[str, ...]]:
    if not isinstance(contents, Mapping):
        return None, notes
    for key in _CONTAINERS:
        inner = contents.get(key)
        if isinstance(inner, Mapping):
            return _unwrap(inner, (*notes, f"found under {key!r}"))
    if any(isinstance(value, LazyTensor) for value in contents.values()):
        return contents, notes
    return None, notes


def _without_wrappers(
    tensors: dict[str, LazyTensor], notes: tuple[str, ...], origin: str
) -> tuple[dict[str, LazyTensor], tuple[str, ...]]:
    """Names without what torch.compile (`_orig_mod`, anywhere) and DistributedDataParallel (`module`, first) add."""
    paths = {name: [part for part in name.split(".") if part != "_orig_mod"] for name in tensors}
    if any("_orig_mod" in name.split(".") for name in tensors):
        notes = (*notes, "`_orig_mod.` stripped")
    if all(path[:1] == ["module"] and len(path) > 1 for path in paths.values()):
        paths = {name: path[1:] for name, path in paths.items()}
        notes = (*notes, "`module.` stripped")
    stripped = {".".join(path): tensors[name] for name, path in paths.items()}
    if len(stripped) != len(tensors):
        raise CheckpointError(
            f"{origin} names some parameters twice, with and without a `module.` or `_orig_mod.` prefix. "
            "Which are meant cannot be told; nothing was loaded. Save one `model.state_dict()` alone."
        )
    return stripped, notes
