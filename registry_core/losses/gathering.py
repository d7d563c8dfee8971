"""Features of all processes that train together, with or without gradients back to them.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.5, compare a batch that is spread over processes; the
options are those of https://github.com/mlfoundations/open_clip. Only those collectives of torch.distributed are used
that all supported versions of torch have and none of them warns of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from registry_core.errors import InputError


class _Gather(torch.autograd.Function):
    """[N, E] of each process -> [world_size * N, E] in all of them."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        del ctx
        return torch.cat(_gathered(features))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        result: Tensor = _SumOwn.apply(gradients[0])
        return result


class _SumOwn(torch.autograd.Function):
    """[world_size * N, E] of each process -> the sum over all of this one's rows, [N, E]; the other's counterpart."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        del ctx
        parts = list(rows.contiguous().chunk(dist.get_world_size()))
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts)
        return own

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        result: Tensor = _Gather.apply(gradients[0])
        return result


def gather_rows(features: Tensor, rank: int, world_size: int, *, local_loss: bool, gather_with_grad: bool) -> Tensor:
    """The features of all processes, first to last.

    Args:
        features: of this process, [N, E]; each process has the same N.
        rank: of this process.
        world_size: how many processes there are.
        local_loss: without `gather_with_grad`, keep this process's own rows free of gradient too.
        gather_with_grad: let the gradients of all processes flow back into this one's rows.

    Returns:
        [world_size * N, E].

    Raises:
        InputError: no group of that many processes is there.
    """
    need_group(rank, world_size)
    if gather_with_grad:
        result: Tensor = _Gather.apply(features)
        return result
    rows = _gathered(features.detach())
    if not local_loss:
        rows[rank] = features  # what was received has no gradient
    return torch.cat(rows)


def _gathered(features: Tensor) -> list[Tensor]:
    rows = [torch.empty_like(features, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, features.contiguous())
    return rows


def need_group(rank: int, world_size: int) -> None:
    """Refuse to go on unless this process is what a loss takes it for.

    Raises:
        InputError: there is no process group, or this process has another place in it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise InputError(
            f"This loss is for world_size={world_size} processes, and there is no process group. Nothing was computed. "
            "Call torch.distributed.init_process_group() in each process before the first batch, or make the loss "
            "with world_size=1."
        )
    if (dist.get_rank(), dist.get_world_size()) != (rank, world_size):
        raise InputError(
            f"This loss is for rank {rank} of {world_size} processes, and this process is rank {dist.get_rank()} of "
            f"{dist.get_world_size()}. Nothing was computed. Make the loss with torch.distributed.get_rank() and "
            "get_world_size()."
        )


def check_pair(image_features: Tensor | None, text_features: Tensor | None) -> None:
    """Refuse features that are no pairs.

    Raises:
        InputError: one side is missing, or the two are not of one shape [N, E].
    """
    if image_features is None or text_features is None:
        raise InputError(
            "The loss compares pictures with texts, and the features of one side are None. Nothing was computed. Give "
            "the model both."
        )
    if image_features.ndim != 2 or image_features.shape != text_features.shape:  # noqa: PLR2004 - [N, E]
        raise InputError(
            "The loss compares each picture with its text: expected features of one shape [N, E], got "
            f"{list(image_features.shape)} for pictures and {list(text_features.shape)} for texts. Nothing was "
            "computed."
        )
