"""Find the state dict in a saved object, and remove the prefixes that training adds to its names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import CheckpointError, listing

# The keys under which training programs store the state dict; open_clip and DA-CLIP use the first.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")


def find_state_dict(contents: Any, path: Path) -> tuple[dict[str, LazyTensor], tuple[str, ...]]:
    """Return the named tensors in a saved object, and notes on where they were found.

    Args:
        contents: What the reader of the file's format returned.
        path: The file, for messages.

    Raises:
        CheckpointError: The object holds no mapping of names to tensors, or one parameter has two names.
    """
    found, notes = _unwrap(contents, ())
    if found is None:
        keys = listing(map(str, contents)) if isinstance(contents, Mapping) else type(contents).__name__
        raise CheckpointError(
            f"{path} holds no state dict. Expected names with tensors, directly or under one of "
            f"{', '.join(_CONTAINERS)}; found: {keys or 'nothing'}. Nothing was loaded.",
            path=path,
            expected=_CONTAINERS,
            found=list(map(str, contents)) if isinstance(contents, Mapping) else keys,
        )
    others = [name for name, value in found.items() if not isinstance(value, LazyTensor)]
    if others:
        notes = (*notes, f"entries that are not tensors were skipped: {listing(others)}")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, LazyTensor)}
    return _strip_prefixes(tensors, notes, path)


def _unwrap(contents: Any, notes: tuple[str, ...]) -> tuple[Mapping[Any, Any] | None, tuple[str, ...]]:
    """Return the innermost mapping that holds tensors, or None, with a note for each container that was opened."""
    if not isinstance(contents, Mapping):
        return None, notes
    for key in _CONTAINERS:
        inner = contents.get(key)
        if isinstance(inner, Mapping):
            return _unwrap(inner, (*notes, f"found under {key!r}"))
    if any(isinstance(value, LazyTensor) for value in contents.values()):
        return contents, notes
    return None, notes


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
