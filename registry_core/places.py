"""Where weights are, or would come from, without asking anybody: what `explain` says of each source and each tag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry_core.cache import cached_record
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import CheckpointError, FetchError, LookupFailedError
from registry_core.fetch import FetchContext, address, at_hand, location
from registry_core.lookup import Lookup, Resolved
from registry_core.weights import Source, Weights

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """One source of the weights.

    Attributes:
        source: URL, hub file or path.
        path: where it is on this machine, or would be.
        state: "in the cache, 605,157,884 bytes", "not here yet", or what the file holds.
        here: whether it is on this machine.
        size: in bytes, where it is known.
        address: that would be asked for it: the mirror's, where there is one.
    """

    source: str
    path: str
    state: str
    here: bool = False
    size: int | None = None
    address: str = ""

    def __str__(self) -> str:
        if self.source == self.path:
            return self.state
        wanted = "" if self.here or self.address in {"", self.source} else f", would come from {self.address}"
        return f"{self.source}\n{self.path}: {self.state}{wanted}"


@dataclass(frozen=True, slots=True)
class TagPlace:
    """One tag of a model.

    Attributes:
        tag: its name.
        here: whether its file is on this machine.
        size: in bytes; None where it is not known.
        address: where the file is, or would come from.
        licence: of the weights, or "unknown".
    """

    tag: str
    here: bool
    size: int | None
    address: str
    licence: str


def places(weights: Weights, context: FetchContext) -> tuple[Place, ...]:
    """Each source of the weights."""
    return tuple(_place(source, context) for source in weights.sources)


def tag_places(lookup: Lookup, resolved: Resolved, context: FetchContext) -> tuple[TagPlace, ...]:
    """Each tag of a model."""
    found = []
    for tag in [tag for model, tag in lookup.tags() if model == resolved.name]:
        try:
            answers = lookup.tag(resolved, tag)
        except LookupFailedError:  # two plugins bring it: said where it is asked for
            continue
        if answers and answers[0].weights.tag is not None:
            weights = answers[0].weights
            sources = places(weights, context)
            best = next((place for place in sources if place.here), sources[0] if sources else None)
            if best is not None:
                where = best.path if best.here else best.address or best.source
                found.append(TagPlace(tag, best.here, best.size, where, weights.licence or UNKNOWN))
    return tuple(found)


def _place(source: Source, context: FetchContext) -> Place:
    try:
        candidates = location(source, context.folder)
        if not candidates:
            return Place(str(source), "", "fetched by a plugin")
        if source.scheme == "file":
            return _local(source, candidates[0])
        # A hub file has one place for each name it may have: the one that is here, or else the first to be tried.
        path = next(filter(cached_record, candidates), None)
        if path is not None:
            record = cached_record(path)
            size = record.size if record else None
            return Place(str(source), str(path), f"in the cache, {size:,} bytes", here=True, size=size)
        borrowed = at_hand(source, context)
        if borrowed is not None:
            size = borrowed.path.stat().st_size
            state = f"in huggingface_hub's cache, {size:,} bytes"
            return Place(str(source), str(borrowed.path), state, here=True, size=size)
        return Place(str(source), str(candidates[0]), "not here yet", address=address(source, context.settings))
    except FetchError as error:
        return Place(str(source), "", f"create would fail: {error}")


def _local(source: Source, path: Path) -> Place:
    try:
        with CheckpointFile(path) as file:
            index = read_index(file)
            state = f"{index.format}, {len(index.tensors)} tensors, {file.size:,} bytes"
            return Place(str(source), str(path), state, here=True, size=file.size)
    except CheckpointError as error:
        return Place(str(source), str(path), f"create would fail: {error}", here=path.exists())
