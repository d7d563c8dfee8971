"""Tensors into a model: every parameter written once, from the file or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.checkpoint.read import dtype_of, read_mapped, read_private
from registry_core.errors import StateDictError, listing

# How many batches a batch norm has seen: only some have it, since frozen ones do not, and nothing is computed from it.
_COUNTER, _COUNTED = "num_batches_tracked", "running_mean"
_WHOLE = 0.9  # share of the file from which one buffer for all beats a read per tensor


Write = Callable[[Iterable[tuple[torch.Tensor, torch.Tensor]]], None]
"""Puts values in place, given each tensor of a model and its value, of the file's dtype; called under no_grad. The
values are read while it asks for them."""


def exchange(values: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Give each tensor the memory of its value, cast to its own dtype: nothing is copied that need not be."""
    for target, value in values:
        target.data = value.to(target.dtype)


@dataclass(slots=True)
class LoadOutcome:
    """What became of each name.

    Attributes:
        loaded: parameters and buffers written from the file; of aliases, each name.
        missing, unexpected, misshaped: names, the last with both shapes; empty after a strict load.
        adapted: name -> what was done to fit it, such as a resize.
        cast: "float16 -> float32" -> how many tensors.
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
        strict: whether anything left over on either side is an error.
        mapped: map the file instead of reading it into private memory.
        ignored: names in the file that belong to a tower that was not asked for.
        fresh: builds the same model with random values, for what a lenient load leaves unwritten; None keeps what is
            there.
        only: names to write, where the file is for a part of the model; None means all.
        write: puts the values in place.
    """

    strict: bool
    mapped: bool
    ignored: frozenset[str]
    fresh: Callable[[], nn.Module] | None
    only: frozenset[str] | None = None
    write: Write = exchange


def load_state(
    model: nn.Module, conversion: Conversion, file: CheckpointFile, options: LoadOptions, name: str
) -> LoadOutcome:
    """Write a checkpoint's tensors into a model.

    Args:
        model: parameters keep their identity, dtype and aliases; their memory is replaced, unless `options.write` does
            otherwise.
        conversion: the tensors under the model's names.
        file: the one that was asked for, for messages.
        options: see LoadOptions.
        name: the model's name, for messages.

    Raises:
        StateDictError: `strict` and something is missing, unexpected or of another shape; or two names of one
            parameter hold different values.
    """
    outcome = LoadOutcome()
    chosen = _match(model, conversion, options, outcome)
    if options.strict and (outcome.missing or outcome.unexpected or outcome.misshaped):
        raise StateDictError(_explain(outcome, len(chosen), name, str(file.path)))
    if not chosen:
        raise StateDictError(
            f"No tensor of {file.path} is one of {name}'s. {_explain(outcome, 0, name, str(file.path))}"
        )
    with torch.no_grad():
        options.write(_values(chosen, mapped=options.mapped))
        if options.fresh is not None and (outcome.missing or outcome.misshaped):
            _fill(model, {*outcome.missing, *outcome.misshaped}, options.fresh())
    return outcome


def _match(
    model: nn.Module, conversion: Conversion, options: LoadOptions, outcome: LoadOutcome
) -> list[tuple[torch.Tensor, LazyTensor]]:
    """Pair each of the model's tensors with the file's; note what has no partner."""
    names_of: dict[int, list[str]] = {}
    targets: dict[int, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if options.only is not None and name not in options.only:
            continue
        names_of.setdefault(id(tensor), []).append(name)
        targets[id(tensor)] = tensor
    state = conversion.state
    known = {name for names in names_of.values() for name in names}
    strangers = [name for name in state if name not in known and name not in options.ignored]
    outcome.unexpected = [name for name in strangers if not (_is_counter(name) and _counted(name) in known)]
    chosen = []
    for key, names in names_of.items():
        given = [name for name in names if name in state]
        if not given:
            if _is_counter(names[0]) and _counted(names[0]) in state:
                outcome.adapted[names[0]] = "not in the file, left as it was"
            elif not any(map(conversion.leaves, names)):
                outcome.missing += names[:1]
            continue
        lazy = _only_value(given, state)
        complaint = _complaint(targets[key], lazy)
        if complaint:
            outcome.misshaped[given[0]] = complaint
            continue
        chosen.append((targets[key], lazy))
        outcome.loaded += names
        if lazy.note:
            outcome.adapted[given[0]] = lazy.note
        wanted = str(targets[key].dtype).removeprefix("torch.")
        if wanted != lazy.dtype:
            outcome.cast[f"{lazy.dtype} -> {wanted}"] += 1
    return chosen


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == _COUNTER


def _counted(counter: str) -> str:
    """The running mean beside a counter."""
    return counter.removesuffix(_COUNTER) + _COUNTED


def _only_value(names: list[str], state: Mapping[str, LazyTensor]) -> LazyTensor:
    """The one tensor that all names of a shared parameter hold."""
    first = state[names[0]]
    for name in names[1:]:
        other = state[name]
        same_bytes = first.stored is not None and first.stored == other.stored
        if not same_bytes and not torch.equal(first.load(), other.load()):
            raise StateDictError(
                f"{names[0]} and {name} are one parameter of the model, and the checkpoint holds different values "
                "for them. Which is meant cannot be told; nothing was loaded. Remove one of the two from the file."
            )
    return first


def _complaint(target: torch.Tensor, lazy: LazyTensor) -> str:
    if tuple(target.shape) != lazy.shape:
        return f"file {list(lazy.shape)}, model {list(target.shape)}"
    if dtype_of(lazy.dtype).is_floating_point != target.dtype.is_floating_point:
        return f"file {lazy.dtype}, model {str(target.dtype).removeprefix('torch.')}"
    return ""


def _values(
    chosen: list[tuple[torch.Tensor, LazyTensor]], *, mapped: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each target with its value: those stored as needed in bulk, file by file, then the others one by one."""
    direct: dict[CheckpointFile, list[tuple[torch.Tensor, LazyTensor]]] = {}
    for target, lazy in chosen:
        file = lazy.stored.file if lazy.stored is not None else None
        if file is not None and dtype_of(lazy.dtype) == target.dtype:
            direct.setdefault(file, []).append((target, lazy))
    in_bulk = set()
    for file, pairs in direct.items():
        if mapped or sum(lazy.size for _, lazy in pairs) >= _WHOLE * file.size:
            reader = read_mapped if mapped else read_private
            for (target, _), tensor in zip(pairs, reader(file, [lazy for _, lazy in pairs]), strict=True):
                in_bulk.add(id(target))
                yield target, tensor
    for target, lazy in chosen:
        if id(target) not in in_bulk:
            yield target, lazy.load()


def _fill(model: nn.Module, names: set[str], fresh: nn.Module) -> None:
    """Random values for what a lenient load did not find: unwritten memory is garbage, not zero."""
    values = fresh.state_dict()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in names:
            tensor.data = values[name].to(tensor.dtype).clone()


def _explain(outcome: LoadOutcome, matched: int, name: str, origin: str) -> str:
    misshaped = [f"{key} ({shapes})" for key, shapes in outcome.misshaped.items()]
    groups = {
        "missing from the file": _grouped(outcome.missing),
        "unknown to the model": _grouped(outcome.unexpected),
        "of another shape": misshaped,
    }
    lines = "\n".join(f"  {what}: {listing(items, 10)}" for what, items in groups.items() if items)
    return (
        f"{origin} does not fit {name}: {matched} tensors match, {len(outcome.missing)} are missing, "
        f"{len(outcome.unexpected)} are unknown, {len(misshaped)} have another shape.\n{lines}\n"
        "Nothing was loaded. Is this another model's checkpoint? `strict=False` loads what fits and reports the rest."
    )


def _grouped(names: list[str]) -> list[str]:
    """Names that differ in a layer's number alone, as one with a count."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    return [pattern if count == 1 else f"{pattern} (x{count})" for pattern, count in counts.items()]
