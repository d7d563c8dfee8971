"""Where weights are on this machine, or where they would be fetched from. No server is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import CheckpointError, FetchError, LookupFailedError
from registry_core.fetch import FetchContext, address, at_hand, location
from registry_core.fetch.cache import cached_record
from registry_core.fetch.sources import Source, Weights
from registry_core.resolve.results import Resolved
from registry_core.resolve.services import Services

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The status of one source of weights.

    Attributes:
        source: The URL, hub file or path.
        path: Where the file is on this machine, or where it would be stored.
        state: "in the cache, 605,157,884 bytes", "not here yet", or what the file contains.
        here: Whether the file is on this machine.
        size: Size in bytes, or None if it is not known.
        address: The URL that would be requested: the mirror's, if there is a mirror.
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
        mirrored = not self.here and self.address not in {"", self.source}
        origin = f", would be fetched from {self.address}" if mirrored else ""
        return f"{self.source}\n{self.path}: {self.state}{origin}"


@dataclass(frozen=True, slots=True)
class TagStatus:
    """The status of one tag of a model.

    Attributes:
        tag: Name of the tag.
        here: Whether its file is on this machine.
        size: Size in bytes, or None if it is not known.
        address: Where the file is, or the URL that it would be fetched from.
        licence: Licence of the weights, or "unknown".
    """

    tag: str
    here: bool
    size: int | None
    address: str
    licence: str

    def __str__(self) -> str:
        size = f"{self.size:,} bytes" if self.size is not None else "size unknown"
        where = "here" if self.here else "would be fetched from"
        return f"{self.tag}: {size}, licence {self.licence}, {where} {self.address}"


def source_statuses(weights: Weights, context: FetchContext) -> tuple[SourceStatus, ...]:
    """Return the status of each source of the weights."""
    return tuple(_source_status(source, context) for source in weights.sources)


def tag_statuses(services: Services, resolved: Resolved, context: FetchContext) -> tuple[TagStatus, ...]:
    """Return the status of each tag of a model. Tags that two plugins provide are left out."""
    statuses = []
    for tag in [tag for model, tag in services.catalog.tags() if model == resolved.name]:
        try:
            weights = services.tag(resolved, tag)
        except LookupFailedError:  # a conflict: its error is raised when the caller asks for this tag
            continue
        if weights is not None and weights.sources:
            statuses.append(_tag_status(tag, weights, context))
    return tuple(statuses)


def _tag_status(tag: str, weights: Weights, context: FetchContext) -> TagStatus:
    sources = source_statuses(weights, context)
    best = next((source for source in sources if source.here), sources[0])
    address = best.path if best.here else best.address or best.source
    return TagStatus(tag, best.here, best.size, address, weights.licence or UNKNOWN)


def _source_status(source: Source, context: FetchContext) -> SourceStatus:
    try:
        candidates = location(source, context.folder)
        if not candidates:
            return SourceStatus(str(source), "", "fetched by a plugin")
        if source.scheme == "file":
            return _file_status(source, candidates[0])
        return _remote_status(source, candidates, context)
    except FetchError as error:
        return SourceStatus(str(source), "", f"create would fail: {error}")


def _remote_status(source: Source, candidates: list[Path], context: FetchContext) -> SourceStatus:
    """Return the status of a URL or a hub file.

    Args:
        source: The source.
        candidates: Where its file may be in the cache. A hub file has one candidate for each of its possible names.
        context: The cache folder and the network settings.
    """
    for path in candidates:
        record = cached_record(path)
        if record is not None:
            state = f"in the cache, {record.size:,} bytes"
            return SourceStatus(str(source), str(path), state, here=True, size=record.size)
    foreign = at_hand(source, context)
    if foreign is not None:
        size = foreign.path.stat().st_size
        state = f"in huggingface_hub's cache, {size:,} bytes"
        return SourceStatus(str(source), str(foreign.path), state, here=True, size=size)
    return SourceStatus(str(source), str(candidates[0]), "not here yet", address=address(source, context.settings))


def _file_status(source: Source, path: Path) -> SourceStatus:
    try:
        with CheckpointFile(path) as file:
            index = read_index(file)
            state = f"{index.format}, {len(index.tensors)} tensors, {file.size:,} bytes"
            return SourceStatus(str(source), str(path), state, here=True, size=file.size)
    except CheckpointError as error:
        return SourceStatus(str(source), str(path), f"create would fail: {error}", here=path.exists())
