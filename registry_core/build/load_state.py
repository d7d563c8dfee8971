"""Load tensors into a model: every parameter is written once, from the file, or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.checkpoint.read import dtype_of, read_mapped, read_private
from registry_core.errors import StateDictError, listing

# `num_batches_tracked` of a batch norm may be missing from a checkpoint or left over in it: frozen batch norms lack it,
# and no output depends on it. The batch norm that it belongs to is recognised by its running mean.
_BATCH_COUNT, _RUNNING_MEAN = "num_batches_tracked", "running_mean"
_BULK_SHARE = 0.9  # from this share of the file on, one buffer for all tensors is faster than one read per tensor


Write = Callable[[Iterable[tuple[torch.Tensor, torch.Tensor]]], None]
"""Writes values into a model, given pairs of a tensor of the model and its value in the dtype of the file. Called under
no_grad. A value is read from the file when the iterator reaches it."""


def assign(values: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Give each tensor the memory of its value, cast to the dtype of the tensor. Copies only if a cast needs it."""
    for target, value in values:
        target.data = value.to(target.dtype)


@dataclass(slots=True)
class LoadOutcome:
    """What was done for each name.

    Attributes:
        loaded: Parameters and buffers written from the file; for a shared parameter, all of its names.
        missing: Names that the file lacks; empty after a strict load.
        unexpected: Names that the model lacks; empty after a strict load.
        misshaped: Name -> both shapes, where they differ; empty after a strict load.
        adapted: Name -> what was done to make the tensor fit, such as a resize.
        cast: "float16 -> float32" -> number of tensors.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    cast: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load.

    Attributes:
        strict: Whether any difference between file and model is an error.
        mapped: Whether to map the file instead of reading it into private memory.
        ignored: Names in the file that belong to a tower that the caller did not ask for.
        initialise: Builds the same model with random values, for parameters that a lenient load leaves unwritten. None
            means that they keep their values.
        only: Names to write, if the file is for one tower; None means all.
        tower: That tower, for messages, or None.
        write: Writes the values into the model.
    """

    strict: bool
    mapped: bool
    ignored: frozenset[str]
    initialise: Callable[[], nn.Module] | None
    only: frozenset[str] | None = None
    tower: str | None = None
    write: Write = assign


@dataclass(frozen=True, slots=True)
class _Target:
    """A parameter or buffer of the model, with every name that it has there."""

    tensor: torch.Tensor
    names: list[str]


_Pair = tuple[torch.Tensor, LazyTensor]


def load_state(
    model: nn.Module, conversion: Conversion, file: CheckpointFile, options: LoadOptions, name: str
) -> LoadOutcome:
    """Write a checkpoint's tensors into a model.

    Args:
        model: Its parameters keep their identity, dtype and aliases. Their memory is replaced, unless `options.write`
            does otherwise.
        conversion: The tensors under the model's names.
        file: The file that was asked for, for messages.
        options: See LoadOptions.
        name: Name of the model, for messages.

    Raises:
        StateDictError: The load is strict and something is missing, unexpected or misshaped; or no tensor fits; or two
            names of one parameter hold different values.
    """
    targets = _targets(model, options.only)
    _refuse_contradicting_names(targets, conversion.state, name, file.path)
    outcome = LoadOutcome()
    chosen = _match(targets, conversion, options.ignored, outcome)
    if not chosen or (options.strict and (outcome.missing or outcome.unexpected or outcome.misshaped)):
        raise _misfit(outcome, len(chosen), name, options.tower, file.path)
    with torch.no_grad():
        options.write(_values(chosen, mapped=options.mapped))
        if options.initialise is not None and (outcome.missing or outcome.misshaped):
            _fill(model, {*outcome.missing, *outcome.misshaped}, options.initialise())
    return outcome


def _targets(model: nn.Module, only: frozenset[str] | None) -> list[_Target]:
    """Return each distinct parameter and buffer of a model: names of one tensor are aliases."""
    targets: dict[int, _Target] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if only is None or name in only:
            targets.setdefault(id(tensor), _Target(tensor, [])).names.append(name)
    return list(targets.values())


def _refuse_contradicting_names(targets: list[_Target], state: Mapping[str, LazyTensor], name: str, path: Path) -> None:
    """Check that the names of a shared parameter hold equal values in the file."""
    for target in targets:
        held = [alias for alias in target.names if alias in state]
        for first, other in pairwise(held):
            same_bytes = state[first].stored is not None and state[first].stored == state[other].stored
            if not same_bytes and not torch.equal(state[first].load(), state[other].load()):
                raise StateDictError(
                    f"{first} and {other} are one parameter of {name}, but {path} holds different values for them. It "
                    "is not clear which of the two is meant. Nothing was loaded.",
                    path=path,
                    name=name,
                    found=[first, other],
                    advice="Remove one of the two from the file.",
                )


def _match(
    targets: list[_Target], conversion: Conversion, ignored: frozenset[str], outcome: LoadOutcome
) -> list[_Pair]:
    """Pair each tensor of the model with a tensor of the file; record in the outcome what has no partner."""
    known = {name for target in targets for name in target.names}
    unknown = [name for name in conversion.state if name not in known and name not in ignored]
    outcome.unexpected = [name for name in unknown if _running_mean(name) not in known]
    return [pair for target in targets if (pair := _pair(target, conversion, outcome)) is not None]


def _pair(target: _Target, conversion: Conversion, outcome: LoadOutcome) -> _Pair | None:
    """Return the target with its tensor of the file, or None if the file has no tensor that fits."""
    held = [name for name in target.names if name in conversion.state]
    if not held:
        _record_absent(target.names, conversion, outcome)
        return None
    lazy = conversion.state[held[0]]
    mismatch = _mismatch(target.tensor, lazy)
    if mismatch:
        outcome.misshaped[held[0]] = mismatch
        return None
    outcome.loaded += target.names
    if lazy.note:
        outcome.adapted[held[0]] = lazy.note
    dtype = _dtype_name(target.tensor)
    if dtype != lazy.dtype:
        outcome.cast[f"{lazy.dtype} -> {dtype}"] += 1
    return target.tensor, lazy


def _record_absent(names: list[str], conversion: Conversion, outcome: LoadOutcome) -> None:
    if _running_mean(names[0]) in conversion.state:
        outcome.adapted[names[0]] = "not in the file, left as it was"
    elif not any(map(conversion.leaves, names)):
        outcome.missing += names[:1]


def _running_mean(name: str) -> str | None:
    """Return the running mean of the batch norm that a batch count belongs to; None for any other name."""
    is_batch_count = name.rpartition(".")[2] == _BATCH_COUNT
    return name.removesuffix(_BATCH_COUNT) + _RUNNING_MEAN if is_batch_count else None


def _mismatch(target: torch.Tensor, lazy: LazyTensor) -> str:
    """Return what keeps a tensor of the file from fitting; empty if it fits."""
    if tuple(target.shape) != lazy.shape:
        return f"file {list(lazy.shape)}, model {list(target.shape)}"
    if dtype_of(lazy.dtype).is_floating_point != target.dtype.is_floating_point:
        return f"file {lazy.dtype}, model {_dtype_name(target)}"
    return ""


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _values(chosen: list[_Pair], *, mapped: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each target with its value: first those that are read in bulk, file by file, then the others one by one."""
    castless: dict[CheckpointFile, list[_Pair]] = {}
    for target, lazy in chosen:
        file = lazy.stored.file if lazy.stored is not None else None
        if file is not None and dtype_of(lazy.dtype) == target.dtype:
            castless.setdefault(file, []).append((target, lazy))
    in_bulk = set()
    for file, pairs in castless.items():
        if mapped or sum(lazy.size for _, lazy in pairs) >= _BULK_SHARE * file.size:
            reader = read_mapped if mapped else read_private
            for (target, _), tensor in zip(pairs, reader(file, [lazy for _, lazy in pairs]), strict=True):
                in_bulk.add(id(target))
                yield target, tensor
    for target, lazy in chosen:
        if id(target) not in in_bulk:
            yield target, lazy.load()


def _fill(model: nn.Module, names: set[str], initialised: nn.Module) -> None:
    """Give random values to what a lenient load did not find: unwritten memory holds garbage, not zeros."""
    values = initialised.state_dict()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in names:
            tensor.data = values[name].to(tensor.dtype).clone()


def _misfit(outcome: LoadOutcome, matched: int, name: str, tower: str | None, path: Path) -> StateDictError:
    """Return the error for a checkpoint whose tensors do not fit the model."""
    part = name if tower is None else f"the {tower} tower of {name}"
    misshaped = [f"{key} ({shapes})" for key, shapes in outcome.misshaped.items()]
    groups = {
        "missing from the file": _grouped_by_layer(outcome.missing),
        "unknown to the model": _grouped_by_layer(outcome.unexpected),
        "of another shape": misshaped,
    }
    lines = "\n".join(f"  {what}: {listing(items, 10)}" for what, items in groups.items() if items)
    advice = "Check whether this is the checkpoint of another model."
    return StateDictError(
        f"{path} does not fit {part}: {matched} tensors match, {len(outcome.missing)} are missing, "
        f"{len(outcome.unexpected)} are unknown, {len(misshaped)} have another shape.\n{lines}\nNothing was loaded.",
        path=path,
        name=name,
        missing=outcome.missing,
        unexpected=outcome.unexpected,
        misshaped=outcome.misshaped,
        advice=f"{advice} `strict=False` loads what fits and reports the rest." if matched else advice,
    )


def _grouped_by_layer(names: list[str]) -> list[str]:
    """Join names that differ only in the number of a layer into one name with a count."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    return [pattern if count == 1 else f"{pattern} (x{count})" for pattern, count in counts.items()]
