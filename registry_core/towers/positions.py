"""Position embeddings: fixed ones, and learnt ones for another grid or length than they were trained for."""

from __future__ import annotations

from math import isqrt, prod

import torch
from torch import Tensor
from torch.nn import functional as F

from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import CheckpointError


def resize_grid(lazy: LazyTensor, trained: tuple[int, int], wanted: tuple[int, int], prefix: int = 1) -> LazyTensor:
    """Image position embeddings [prefix + rows * columns, C] for another grid, by antialiased bicubic interpolation.

    Args:
        lazy: the embeddings in the checkpoint.
        trained: rows and columns of the grid that the weights are said to have been trained on.
        wanted: rows and columns of the model's grid.
        prefix: leading embeddings that belong to no patch, kept as they are.

    Raises:
        CheckpointError: the number of embeddings is neither that of the stated grid nor of a square one.
    """
    if len(lazy.shape) != 2:  # noqa: PLR2004 - no table of embeddings; the loader says so with both shapes
        return lazy
    count = lazy.shape[0] - prefix
    # The same number of tokens may be another grid (2 x 8 and 4 x 4): the stated grid decides before the count does.
    if count == prod(trained):
        held = trained
    elif count == prod(wanted):
        held = wanted
    elif count > 0 and isqrt(count) ** 2 == count:
        held = (isqrt(count), isqrt(count))
    else:
        raise CheckpointError(
            f"The checkpoint holds {count} image position embeddings; expected {prod(trained)} for the stated grid "
            f"{trained[0]}x{trained[1]}, or a square number. Their grid cannot be told; nothing was loaded. Give the "
            "config they were trained with (its image_size) by registry.add_config, and override image_size."
        )
    if held == wanted:
        return lazy

    def interpolate(old: Tensor) -> Tensor:
        kept, patches = old[:prefix].float(), old[prefix:].float()
        picture = patches.reshape(1, *held, -1).permute(0, 3, 1, 2)  # [1, C, rows, columns]
        scaled = F.interpolate(picture, size=wanted, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([kept, scaled.flatten(2)[0].T]).to(old.dtype)

    shape = (prefix + prod(wanted), *lazy.shape[1:])
    return lazy.map(interpolate, shape, f"resized {held[0]}x{held[1]} -> {wanted[0]}x{wanted[1]}, bicubic")


def resize_length(lazy: LazyTensor, length: int) -> LazyTensor:
    """Text position embeddings [L, C] for another context length, by linear interpolation."""
    if len(lazy.shape) != 2 or lazy.shape[0] in {0, length}:  # noqa: PLR2004 - the loader names what is no table
        return lazy
    held = lazy.shape[0]

    def interpolate(old: Tensor) -> Tensor:
        scaled = F.interpolate(old.float().T[None], size=length, mode="linear", align_corners=False)
        return scaled[0].T.to(old.dtype)

    return lazy.map(interpolate, (length, *lazy.shape[1:]), f"resized {held} -> {length}, linear")


def sin_cos_2d(width: int, grid: tuple[int, int]) -> Tensor:
    """Fixed embeddings [1 + rows * columns, C] of sines and cosines; that of the class token is zero.

    He et al. 2021, https://arxiv.org/abs/2111.06377. The first half encodes the column, the second the row.
    """
    quarter = width // 4
    frequencies = 10000 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    rows = torch.arange(grid[0], dtype=torch.float64).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], dtype=torch.float64).repeat(grid[0])
    halves = []
    for position in (columns, rows):
        angles = position[:, None] * frequencies
        halves += [angles.sin(), angles.cos()]
    patches = torch.cat(halves, dim=1)
    return torch.cat([torch.zeros(1, patches.shape[1], dtype=patches.dtype), patches]).float()
