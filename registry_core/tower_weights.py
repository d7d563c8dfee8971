"""Weights for one tower from a file of their own: a whole model's checkpoint, or the tower's state dict alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from registry_core.build import build
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.checkpoint.load import LoadOptions, LoadOutcome, load_state
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import CheckpointError, StateDictError, listing

if TYPE_CHECKING:
    from torch import nn

    from registry_core.assembly import Order
    from registry_core.report import LoadReport
    from registry_core.services import Services

_OTHER = {"image": "text", "text": "image"}


def load_tower(services: Services, order: Order, model: nn.Module, report: LoadReport, tower: str) -> Conversion:
    """Read one tower's weights into a model, over whatever it holds, and note them in the report.

    Args:
        services: whose plugins convert.
        order: its `tower_files` name the file.
        model: complete, or with that tower.
        report: of the model.
        tower: "image" or "text".

    Raises:
        CheckpointError: the file is not to be read.
        StateDictError: it holds no tensor of the tower, or (under `strict`) not all, or others.
    """
    path = order.tower_files[tower]
    # What both towers have, such as the scale, and what needs both, such as a decoder, belongs to neither.
    names = _names(services, order, tower) - _names(services, order, _OTHER[tower])
    with CheckpointFile(path) as file:
        index = read_index(file)
        prefix, conversion = _best(services, order, names, index.tensors)
        own = {name: tensor for name, tensor in conversion.state.items() if name in names}
        if not own:
            raise StateDictError(
                f"No tensor of {path} is one of {report.name}'s {tower} tower. It holds {listing(index.tensors, 5)}; "
                f"the tower has {listing(sorted(names), 5)}. Nothing was loaded."
            )
        # Of a whole model's checkpoint the rest is not asked for; of a tower's alone it is a stranger.
        ignored = frozenset(conversion.state) - names if prefix == "" else frozenset(model.state_dict()) - names
        options = LoadOptions(order.strict, order.mmap, ignored, fresh=None, only=names)  # the model has values already
        outcome = load_state(model, conversion, file, options, f"the {tower} tower of {report.name}")
    report.notes.append(f"{tower} tower from {path}: {len(outcome.loaded)} names, {index.format}, {conversion.kind}")
    report.left_to_owner += [name for name in conversion.left_to_owner if name not in report.left_to_owner]
    _note(report, outcome, tower)
    return conversion


def _names(services: Services, order: Order, tower: str) -> frozenset[str]:
    shell = build(partial(services.build, order.settled.config, tower), values=False, device="meta")
    return frozenset(shell.state_dict())


def _note(report: LoadReport, outcome: LoadOutcome, tower: str) -> None:
    """What the tower's file did, over what the report says of the same names so far."""
    written = set(outcome.loaded)
    report.missing = [name for name in report.missing if name not in written]
    report.misshaped = {name: shapes for name, shapes in report.misshaped.items() if name not in written}
    report.adapted = {name: what for name, what in report.adapted.items() if name not in written} | outcome.adapted
    report.cast = dict(Counter(report.cast) + outcome.cast)
    report.unexpected += outcome.unexpected
    left = {*outcome.missing, *outcome.misshaped}.intersection(report.loaded)
    if left:
        kept = f"{len(left)} of its names keep the values from {report.weights}: {listing(sorted(left), 5)}"
        report.notes.append(f"{tower} tower: {kept}")
    report.loaded += sorted(written.difference(report.loaded))
    report.missing += [name for name in outcome.missing if name not in left and name not in report.missing]
    report.misshaped |= {name: shapes for name, shapes in outcome.misshaped.items() if name not in left}


def _best(
    services: Services, order: Order, names: frozenset[str], tensors: Mapping[str, LazyTensor]
) -> tuple[str, Conversion]:
    """The file's tensors under the prefix with which most of them are the tower's own; none for a whole model's."""
    best: tuple[str, Conversion] = ("", Conversion({}))
    most = 0
    for prefix in ("", *_prefixes(names)):
        state = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
        try:
            conversion = services.convert(order.settled.config, order.settled.trained, state)
        except CheckpointError:
            if prefix == "":  # the owner knows this layout, and says why it does not fit
                raise
            continue
        count = len(names.intersection(conversion.state))
        if count > most:
            best, most = (prefix, conversion), count
    return best


def _prefixes(names: frozenset[str]) -> list[str]:
    """Every module path that names of the tower start with, outer ones first: `visual.`, `visual.trunk.` ..."""
    found: set[str] = set()
    for name in names:
        parts = [f"{part}." for part in name.split(".")[:-1]]
        found.update(list(accumulate(parts))[:2])
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))
