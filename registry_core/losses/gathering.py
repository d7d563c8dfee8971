"""Gathering of features from all processes that train together, with or without gradients back to them.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.5, compare a batch that is distributed over processes.
The options are those of https://github.com/mlfoundations/open_clip. Only collectives of torch.distributed are used that
exist in all supported versions of torch and cause no warning in any of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from registry_core.errors import InputError


class _Gather(torch.autograd.Function):
    """[N, E] of each process -> [world_size * N, E] in all processes."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        del ctx
        return torch.cat(_all_gather(features))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        result: Tensor = _SumOwn.apply(gradients[0])
        return result


class _SumOwn(torch.autograd.Function):
    """[world_size * N, E] of each process -> the sum over all processes of this process's rows, [N, E].

    This is the backward pass of _Gather, and the other way round, so that second derivatives work.
    """

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
    """Gather the features of all processes, in the order of their ranks.

    Args:
        features: Features of this process, [N, E]. N is the same in each process.
        rank: Rank of this process.
        world_size: Number of processes.
        local_loss: Without `gather_with_grad`, no gradient flows back to the rows of this process either.
        gather_with_grad: Let the gradients of all processes flow back to the rows of this process.

    Returns:
        [world_size * N, E].

    Raises:
        InputError: There is no process group, or this process has another rank or world size in it.
    """
    check_process_group(rank, world_size)
    if gather_with_grad:
        result: Tensor = _Gather.apply(features)
        return result
    rows = _all_gather(features.detach())
    if not local_loss:
        rows[rank] = features  # the received copy has no gradient
    return torch.cat(rows)


def _all_gather(features: Tensor) -> list[Tensor]:
    rows = [torch.empty_like(features, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, features.contiguous())
    return rows


def check_process_group(rank: int, world_size: int) -> None:
    """Check that this process has the rank and world size that the loss was made for.

    Raises:
        InputError: There is no process group, or this process has another rank or world size in it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise InputError(
            f"This loss was made for world_size={world_size} processes, and there is no process group. Nothing was "
            "computed.",
            argument="world_size",
            found=world_size,
            advice="Call torch.distributed.init_process_group() in each process before the first batch, or make the "
            "loss with world_size=1.",
        )
    actual = (dist.get_rank(), dist.get_world_size())
    if actual != (rank, world_size):
        raise InputError(
            f"This loss was made for rank {rank} of {world_size} processes, and this process is rank {actual[0]} of "
            f"{actual[1]}. Nothing was computed.",
            argument="rank",
            expected=(rank, world_size),
            found=actual,
            advice="Make the loss with torch.distributed.get_rank() and get_world_size().",
        )


def check_pair(image_features: Tensor | None, text_features: Tensor | None) -> None:
    """Check that there is one text for each image.

    Raises:
        InputError: The features of one side are None, or the two do not have the same shape [N, E].
    """
    if image_features is None or text_features is None:
        raise InputError(
            "The loss compares images with texts, and the features of one side are None. Nothing was computed.",
            argument="image_features" if image_features is None else "text_features",
            expected="[N, E]",
            advice="Give the model both images and texts.",
        )
    if image_features.ndim != 2 or image_features.shape != text_features.shape:  # noqa: PLR2004 - [N, E]
        shapes = list(image_features.shape), list(text_features.shape)
        raise InputError(
            "The loss compares each image with its text: expected features of one shape [N, E], got "
            f"{shapes[0]} for images and {shapes[1]} for texts. Nothing was computed.",
            argument="text_features",
            expected="features of one shape [N, E]",
            found=shapes,
        )
