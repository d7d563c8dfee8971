"""Another library's names and shapes into ours, by a table of rules.

A rule names the tensors of the other layout, the parameter they make here, and how. `*` stands for one part of a name
(between dots or slashes) and is carried over. Nothing is read: the result is lazy as its sources are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_core.checkpoint.index import LazyTensor

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One or more tensors of the other layout make one parameter.

    Attributes:
        target: the parameter's name here.
        sources: names in the other layout; several are joined along the first dimension, in this order.
        how: key of HOW, what happens to each before it is joined.
    """

    target: str
    sources: tuple[str, ...]
    how: str = "same"


def _flat(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


# What may happen to a tensor, and what that does to its shape. C in, O out, H heads, D width of a head.
HOW: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Shape], Shape]]] = {
    "same": (lambda t: t, lambda s: s),
    "transpose": (lambda t: t.T.contiguous(), lambda s: s[::-1]),  # [C, O] -> [O, C]
    "kernel": (  # [h, w, C, O] -> [O, C, h, w]
        lambda t: t.permute(3, 2, 0, 1).contiguous(),
        lambda s: (s[3], s[2], s[0], s[1]),
    ),
    "into_heads": (lambda t: t.flatten(1).T.contiguous(), lambda s: (s[1] * s[2], s[0])),  # [C, H, D] -> [HD, C]
    "out_of_heads": (  # [H, D, O] -> [O, HD]
        lambda t: t.flatten(0, 1).T.contiguous(),
        lambda s: (s[2], s[0] * s[1]),
    ),
    "flat": (lambda t: t.reshape(-1), lambda s: (_flat(s),)),
    "first": (lambda t: t[0], lambda s: s[1:]),  # [1, ...] -> [...]
    "scalar": (lambda t: t.reshape(()), lambda s: s[:0]),
}


def relayout(
    state: Mapping[str, LazyTensor], rules: Iterable[Rule], dropped: Iterable[str] = ()
) -> dict[str, LazyTensor]:
    """The state under our names.

    Args:
        state: in the other layout.
        rules: see Rule. A rule some of whose sources are absent makes nothing, and leaves the others as they are.
        dropped: names, with `*`, that have no counterpart and no meaning here, such as position ids.

    Returns:
        What the rules make, and every tensor that none of them named, under the name it had.
    """
    result: dict[str, LazyTensor] = {}
    used: set[str] = set()
    for rule in rules:
        pattern = _pattern(rule.sources[0])
        for match in filter(None, map(pattern.fullmatch, state)):
            names = [_filled(source, match.groups()) for source in rule.sources]
            if all(name in state for name in names):
                used.update(names)
                result[_filled(rule.target, match.groups())] = _combined([state[name] for name in names], rule.how)
    ignored = [_pattern(name) for name in dropped]
    left = {name: tensor for name, tensor in state.items() if name not in used}
    kept = {name: tensor for name, tensor in left.items() if not any(p.fullmatch(name) for p in ignored)}
    return {**result, **kept}


def _combined(parts: list[LazyTensor], how: str) -> LazyTensor:
    change, reshape = HOW[how]
    changed = parts if how == "same" else [part.map(change, reshape(part.shape), "") for part in parts]
    if len(changed) == 1:
        return changed[0]

    def load() -> Tensor:
        import torch

        return torch.cat([part.load() for part in changed])

    shape = (sum(part.shape[0] for part in changed), *changed[0].shape[1:])
    return LazyTensor(changed[0].dtype, shape, load, note=changed[0].note)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", "([^./]+)"))


def _filled(name: str, parts: tuple[str, ...]) -> str:
    remaining = iter(parts)
    return re.sub(r"\*", lambda _: next(remaining), name)
