"""The text features of the other processes, one process's at a time: four ways, of which a loss names one.

Zhai et al. 2023, https://arxiv.org/abs/2303.15343, section 3.3: so no process ever holds all similarities. All ways let
gradients flow back to where the features are from. In the rings each process receives from one neighbour what that one
received before; each step of it has a backward step in the other direction.

Legend: N rows of each process, E width of a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from registry_core.losses.gathering import gather_rows


@dataclass(frozen=True, slots=True)
class Place:
    """This process among the others."""

    rank: int
    world_size: int

    @property
    def right(self) -> int:
        """The next rank, around."""
        return (self.rank + 1) % self.world_size

    @property
    def left(self) -> int:
        """The rank before, around."""
        return (self.rank - 1) % self.world_size


Route = tuple[int, int]  # the rank to send to, and the one to receive from


class _Swap(torch.autograd.Function):
    """Sends each tensor along its route and gives what comes along it; gradients travel back the same way."""

    @staticmethod
    def forward(ctx: Any, routes: tuple[Route, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.routes = routes
        return _swapped(routes, tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        back = tuple((source, target) for target, source in ctx.routes)
        return None, *_swap(back, *gradients)


def _swapped(routes: tuple[Route, ...], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    sent = [tensor.contiguous() for tensor in tensors]
    received = [torch.empty_like(tensor) for tensor in sent]
    operations = [dist.P2POp(dist.isend, tensor, target) for tensor, (target, _) in zip(sent, routes, strict=True)]
    operations += [dist.P2POp(dist.irecv, tensor, source) for tensor, (_, source) in zip(received, routes, strict=True)]
    for request in dist.batch_isend_irecv(operations):
        request.wait()
    return tuple(received)


def _swap(routes: tuple[Route, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
    result: tuple[Tensor, ...] = _Swap.apply(routes, *tensors)
    return result


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; backward sums the gradients too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return _sum(gradients[0])


def _sum(tensor: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(tensor)
    return result


def shift(texts: Tensor, place: Place) -> Iterator[Tensor]:
    """Around the ring to the right, in world_size - 1 steps."""
    for _ in range(place.world_size - 1):
        (texts,) = _swap(((place.right, place.left),), texts)
        yield texts


def bidir(texts: Tensor, place: Place) -> Iterator[Tensor]:
    """Around the ring both ways at once, in half as many steps; a last step to the right where one is over."""
    rightwards, leftwards = (place.right, place.left), (place.left, place.right)
    to_right = to_left = texts
    steps, rest = divmod(place.world_size - 1, 2)
    for _ in range(steps):
        to_right, to_left = _swap((rightwards, leftwards), to_right, to_left)
        yield from (to_right, to_left)
    if rest:
        yield from _swap((rightwards,), to_right)


def reduce(texts: Tensor, place: Place) -> Iterator[Tensor]:
    """By a sum over all processes to which all but one give zeros, for each in turn."""
    found = [_sum(texts * (source == place.rank)) for source in range(place.world_size)]
    # One's own rows are not among the others'. Still their sum must have a gradient, zero: its backward step is a sum
    # over all processes, which would wait for this one without end.
    nothing = found.pop(place.rank).sum() * 0
    for other in found:
        yield other + nothing


def gather(texts: Tensor, place: Place) -> Iterator[Tensor]:
    """All at once."""
    rows = gather_rows(texts, place.rank, place.world_size, local_loss=True, gather_with_grad=True)
    for source, found in enumerate(rows.chunk(place.world_size)):
        if source != place.rank:
            yield found


EXCHANGES: Mapping[str, Callable[[Tensor, Place], Iterator[Tensor]]] = MappingProxyType(
    {
        "bidir": bidir,
        "shift": shift,
        "reduce": reduce,
        "gather": gather,
    }
)
