"""Load one tower from a separate file: the checkpoint of a whole model, or the state dict of the tower alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.build.load_state import LoadOptions, LoadOutcome, load_state
from registry_core.build.uninitialised import build
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import CheckpointError, StateDictError, listing

if TYPE_CHECKING:
    from torch import nn

    from registry_core.build.request import BuildRequest
    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services

_OTHER_TOWER = {"image": "text", "text": "image"}


@dataclass(frozen=True, slots=True)
class _PrefixedConversion:
    """The tensors of a file, converted after a prefix was added to their names.

    Attributes:
        prefix: The prefix, such as "visual."; empty for the checkpoint of a whole model.
        conversion: The converted tensors.
    """

    prefix: str
    conversion: Conversion


def load_tower(
    services: Services, request: BuildRequest, model: nn.Module, report: LoadReport, tower: str
) -> Conversion:
    """Load one tower's weights into a model, over its current values, and record them in the report.

    Args:
        services: Their plugins convert the file.
        request: Its `tower_files` name the file.
        model: The whole model, or a model that has only this tower.
        report: The report of the model.
        tower: "image" or "text".

    Raises:
        CheckpointError: The file cannot be read.
        StateDictError: The file holds no tensor of the tower; or the load is strict and the file lacks tensors of the
            tower or holds others.
    """
    path = request.tower_files[tower]
    names = _names_of_tower(services, request, tower)
    with CheckpointFile(path) as file:
        index = read_index(file)
        best = _best_conversion(services, request, names, index.tensors)
        conversion = best.conversion
        if names.isdisjoint(conversion.state):
            raise _no_tensor_of_tower(path, report.name, tower, names, index.tensors)
        # In the checkpoint of a whole model, the other tensors are ignored. In the file of a tower they are unexpected.
        others = conversion.state if best.prefix == "" else model.state_dict()
        # The model has values already, so nothing is initialised.
        ignored = frozenset(others) - names
        options = LoadOptions(request.strict, request.mmap, ignored, initialise=None, only=names, tower=tower)
        outcome = load_state(model, conversion, file, options, report.name)
    report.notes.append(f"{tower} tower from {path}: {len(outcome.loaded)} names, {index.format}, {conversion.kind}")
    report.left_to_owner += [name for name in conversion.left_to_owner if name not in report.left_to_owner]
    _merge_outcome(report, outcome, tower)
    return conversion


def _no_tensor_of_tower(
    path: Path, name: str, tower: str, names: frozenset[str], tensors: Mapping[str, LazyTensor]
) -> StateDictError:
    return StateDictError(
        f"{path} holds no tensor of the {tower} tower of {name}. The file holds {listing(tensors, 5)}; the tower has "
        f"{listing(sorted(names), 5)}. Nothing was loaded.",
        path=path,
        name=name,
        missing=sorted(names),
        unexpected=list(tensors),
    )


def _names_of_tower(services: Services, request: BuildRequest, tower: str) -> frozenset[str]:
    """Return the parameters and buffers that belong to one tower alone.

    Parameters that both towers have, such as the scale, and parts that need both towers, such as a decoder, belong to
    neither tower.
    """
    own, other = (
        build(partial(services.build, request.config.config, part), values=False, device="meta").state_dict()
        for part in (tower, _OTHER_TOWER[tower])
    )
    return frozenset(own) - frozenset(other)


def _merge_outcome(report: LoadReport, outcome: LoadOutcome, tower: str) -> None:
    """Record what was loaded from the tower's file, in place of what the report states about the same names."""
    written = set(outcome.loaded)
    report.missing = [name for name in report.missing if name not in written]
    report.misshaped = {name: shapes for name, shapes in report.misshaped.items() if name not in written}
    report.adapted = {name: what for name, what in report.adapted.items() if name not in written} | outcome.adapted
    report.cast = dict(Counter(report.cast) + outcome.cast)
    report.unexpected += outcome.unexpected
    kept = {*outcome.missing, *outcome.misshaped}.intersection(report.loaded)
    if kept:
        names = listing(sorted(kept), 5)
        report.notes.append(f"{tower} tower: {len(kept)} of its names keep the values from {report.weights}: {names}")
    report.loaded += sorted(written.difference(report.loaded))
    report.missing += [name for name in outcome.missing if name not in kept and name not in report.missing]
    report.misshaped |= {name: shapes for name, shapes in outcome.misshaped.items() if name not in kept}


def _best_conversion(
    services: Services, request: BuildRequest, names: frozenset[str], tensors: Mapping[str, LazyTensor]
) -> _PrefixedConversion:
    """Return the file's tensors under the prefix that gives the most tensors of the tower.

    The file of a tower lacks the prefix of its names in the model, such as "visual.". The prefix is empty for the
    checkpoint of a whole model.
    """
    best = _PrefixedConversion("", Conversion({}))
    most = 0
    for prefix in ("", *_module_prefixes(names)):
        state = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
        try:
            conversion = services.convert(request.config.config, request.config.trained, state)
        except CheckpointError:
            if prefix == "":  # the owner recognises the layout of the file, and its error states why it does not fit
                raise
            continue
        count = len(names.intersection(conversion.state))
        if count > most:
            best, most = _PrefixedConversion(prefix, conversion), count
    return best


def _module_prefixes(names: frozenset[str]) -> list[str]:
    """Return the first one or two module names of each parameter, outer ones first: `visual.`, `visual.trunk.` ..."""
    found: set[str] = set()
    for name in names:
        parts = [f"{part}." for part in name.split(".")[:-1]]
        found.update(list(accumulate(parts))[:2])
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))
