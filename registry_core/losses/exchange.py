"""Four ways to get the text features of the other processes, one process at a time. `dist_impl` of a loss selects one.

No process ever holds all similarities at once (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, section 3.3). In all
four ways, gradients flow back to the process that the features are from.

In the two ring ways ("bidir" and "shift") each process receives features from a neighbour, which received them one step
before. The backward pass repeats each step in the opposite direction.

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
class ProcessRank:
    """The rank of this process, and the number of processes. The ranks form a ring: rank 0 follows the last one."""

    rank: int
    world_size: int

    @property
    def next_rank(self) -> int:
        """The next rank in the ring."""
        return (self.rank + 1) % self.world_size

    @property
    def previous_rank(self) -> int:
        """The previous rank in the ring."""
        return (self.rank - 1) % self.world_size


Route = tuple[int, int]  # the rank to send to, and the rank to receive from


class _Swap(torch.autograd.Function):
    """Send each tensor along its route and return the received tensors. Gradients are sent in the opposite direction.

    The backward pass is a swap too, so that second derivatives work.
    """

    @staticmethod
    def forward(ctx: Any, routes: tuple[Route, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.routes = routes
        return _send_and_receive(routes, tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        back = tuple((source, target) for target, source in ctx.routes)
        return None, *_swap(back, *gradients)


def _send_and_receive(routes: tuple[Route, ...], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
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
    """Sum a tensor over all processes. The backward pass sums the gradients over all processes too."""

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


def shift(texts: Tensor, process: ProcessRank) -> Iterator[Tensor]:
    """Pass features to the next rank of the ring, in world_size - 1 steps."""
    for _ in range(process.world_size - 1):
        (texts,) = _swap(((process.next_rank, process.previous_rank),), texts)
        yield texts


def bidir(texts: Tensor, process: ProcessRank) -> Iterator[Tensor]:
    """Pass features in both directions of the ring at once, in half as many steps as `shift`.

    If the number of other processes is odd, a last step passes features to the next rank only.
    """
    forwards, backwards = (process.next_rank, process.previous_rank), (process.previous_rank, process.next_rank)
    from_previous = from_next = texts
    steps, rest = divmod(process.world_size - 1, 2)
    for _ in range(steps):
        from_previous, from_next = _swap((forwards, backwards), from_previous, from_next)
        yield from (from_previous, from_next)
    if rest:
        yield from _swap((forwards,), from_previous)


def reduce(texts: Tensor, process: ProcessRank) -> Iterator[Tensor]:
    """Sum over all processes, once for each process. In each sum, only that process contributes its features."""
    sums = [_sum(texts * (source == process.rank)) for source in range(process.world_size)]
    # The sum with this process's own features is not yielded, but it must still receive a gradient (zero). The
    # backward step of that sum is a sum too. If this process skipped it, the others would wait for it forever.
    zero = sums.pop(process.rank).sum() * 0
    for other in sums:
        yield other + zero


def gather(texts: Tensor, process: ProcessRank) -> Iterator[Tensor]:
    """Gather the features of all processes in one step."""
    rows = gather_rows(texts, process.rank, process.world_size, local_loss=True, gather_with_grad=True)
    for source, features in enumerate(rows.chunk(process.world_size)):
        if source != process.rank:
            yield features


EXCHANGES: Mapping[str, Callable[[Tensor, ProcessRank], Iterator[Tensor]]] = MappingProxyType(
    {
        "bidir": bidir,
        "shift": shift,
        "reduce": reduce,
        "gather": gather,
    }
)
