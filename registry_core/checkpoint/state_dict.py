"""Find the state dict in a saved object, and remove the prefixes that training adds to its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry_core.checkpoint.index import CheckpointIndex, LazyTensor
from registry_core.checkpoint.pickle_values import Inert
from registry_core.errors import CheckpointError, UnsafeCheckpointError, listing

# The keys under which training programs store the state dict; open_clip and DA-CLIP use the first.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")


def find_state_dict(contents: Any, path: Path, kind: str) -> CheckpointIndex:
    """Return the named tensors in a saved object, with notes on where they were found.

    Args:
        contents: What the reader of the file's format returned.
        path: The file, for messages.
        kind: Name of the format.

    Raises:
        UnsafeCheckpointError: The object is a pickled module or the like.
        CheckpointError: The object holds no mapping of names to tensors, or one parameter has two names.
    """
    levels, notes = _unwrap(contents)
    found = levels[-1] if levels else {}
    if not any(isinstance(value, LazyTensor) for value in found.values()):
        raise _no_state_dict(contents, path)
    unread = _inert_entries(levels)
    if unread:
        names = listing(f"{name} ({kind})" for name, kind in unread.items())
        notes = (*notes, f"objects that are neither tensors nor plain values were not read: {names}")
    others = [str(name) for name, value in found.items() if not isinstance(value, (LazyTensor, Inert))]
    if others:
        notes = (*notes, f"entries that are not tensors were skipped: {listing(others)}")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, LazyTensor)}
    tensors, notes = _strip_prefixes(tensors, notes, path)
    return CheckpointIndex(kind, tensors, notes, _inert_entries(levels[-1:]))


def _unwrap(contents: Any) -> tuple[list[Mapping[Any, Any]], tuple[str, ...]]:
    """Return the mapping that holds the tensors, after those that hold it, and a note for each that was opened."""
    levels: list[Mapping[Any, Any]] = []
    notes: tuple[str, ...] = ()
    while isinstance(contents, Mapping):
        if any(contents is level for level in levels):  # a mapping may contain itself
            return [], notes
        levels.append(contents)
        key = next((key for key in _CONTAINERS if isinstance(levels[-1].get(key), Mapping)), None)
        if key is None:
            break
        contents = contents[key]
        notes = (*notes, f"found under {key!r}")
    return levels, notes


def _inert_entries(levels: Iterable[Mapping[Any, Any]]) -> dict[str, str]:
    """Return the entries that are objects which are not read, and the names of their classes."""
    return {str(name): value.name for level in levels for name, value in level.items() if isinstance(value, Inert)}


def _no_state_dict(contents: Any, path: Path) -> CheckpointError:
    """Return the error for an object without a state dict; pickled objects get one of their own."""
    candidates = contents.values() if isinstance(contents, Mapping) else [contents]
    unread = next((value for value in candidates if isinstance(value, Inert)), None)
    if unread is not None:
        return UnsafeCheckpointError(
            f"{path} holds a pickled object of {unread.name}, and no state dict. Loading it would run code. Nothing "
            "was run and nothing was loaded.",
            path=path,
            name=unread.name,
            advice="If you trust its author, open it where it was made and save only `model.state_dict()`, preferably "
            "as .safetensors.",
        )
    names = list(map(str, contents)) if isinstance(contents, Mapping) else [type(contents).__name__]
    return CheckpointError(
        f"{path} holds no state dict. Expected names with tensors, directly or under one of "
        f"{', '.join(_CONTAINERS)}; found: {listing(names) or 'nothing'}. Nothing was loaded.",
        path=path,
        expected=_CONTAINERS,
        found=names,
    )


def _strip_prefixes(
    tensors: dict[str, LazyTensor], notes: tuple[str, ...], path: Path
) -> tuple[dict[str, LazyTensor], tuple[str, ...]]:
    """Remove the prefixes of torch.compile (`_orig_mod`, anywhere) and DistributedDataParallel (`module`, first)."""
    parts = {name: [part for part in name.split(".") if part != "_orig_mod"] for name in tensors}
    if any("_orig_mod" in name.split(".") for name in tensors):
        notes = (*notes, "`_orig_mod.` stripped")
    if all(left[:1] == ["module"] and len(left) > 1 for left in parts.values()):
        parts = {name: left[1:] for name, left in parts.items()}
        notes = (*notes, "`module.` stripped")
    sources: dict[str, str] = {}
    for name, left in parts.items():
        twin = sources.setdefault(".".join(left), name)
        if twin != name:
            raise CheckpointError(
                f"{path} names some parameters twice, with and without a `module.` or `_orig_mod.` prefix, such as "
                f"{twin} and {name}. It is not clear which of the two is meant. Nothing was loaded.",
                path=path,
                name=".".join(left),
                found=[twin, name],
                advice="Save a single `model.state_dict()` and nothing else.",
            )
    return {stripped: tensors[name] for stripped, name in sources.items()}, notes
