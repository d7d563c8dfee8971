"""Convert another library's tensor names and shapes to ours, by a table of rules.

A rule names the tensors of the other layout, our parameter that they make, and the change of shape. `*` stands for one
part of a name (between dots or slashes) and is copied to the new name. No tensor is read: the results are lazy too.
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
        target: Name of the parameter in our layout.
        sources: Names in the other layout. Several tensors are joined along the first dimension, in this order.
        how: Key of HOW: the change that is applied to each tensor before they are joined.
    """

    target: str
    sources: tuple[str, ...]
    how: str = "same"


def _flat(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


# The possible changes of a tensor, each with the change of its shape. C in, O out, H heads, D width of a head.
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
    """Convert a state dict to our names.

    Args:
        state: The tensors in the other layout.
        rules: See Rule. If a source of a rule is absent, the rule makes nothing and leaves its other sources as they
            are.
        dropped: Names, with `*`, that have no counterpart and no meaning here, such as position ids.

    Returns:
        The tensors that the rules make, and every tensor that no rule used, under its old name.
    """
    converted: dict[str, LazyTensor] = {}
    used: set[str] = set()
    for rule in rules:
        pattern = _pattern(rule.sources[0])
        for match in filter(None, map(pattern.fullmatch, state)):
            names = [_fill_stars(source, match.groups()) for source in rule.sources]
            if all(name in state for name in names):
                used.update(names)
                target = _fill_stars(rule.target, match.groups())
                converted[target] = _combine([state[name] for name in names], rule.how)
    patterns = [_pattern(name) for name in dropped]
    unused = {name: tensor for name, tensor in state.items() if name not in used}
    kept = {name: tensor for name, tensor in unused.items() if not any(p.fullmatch(name) for p in patterns)}
    return {**converted, **kept}


def _combine(parts: list[LazyTensor], how: str) -> LazyTensor:
    change, change_shape = HOW[how]
    changed = parts if how == "same" else [part.map(change, change_shape(part.shape), "") for part in parts]
    if len(changed) == 1:
        return changed[0]

    def load() -> Tensor:
        import torch

        return torch.cat([part.load() for part in changed])

    shape = (sum(part.shape[0] for part in changed), *changed[0].shape[1:])
    return LazyTensor(changed[0].dtype, shape, load, note=changed[0].note)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", "([^./]+)"))


def _fill_stars(name: str, parts: tuple[str, ...]) -> str:
    remaining = iter(parts)
    return re.sub(r"\*", lambda _: next(remaining), name)
