"""Position embeddings: fixed ones, and learnt ones resized to another grid or length than they were trained for."""

from __future__ import annotations

from math import isqrt, prod

import torch
from torch import Tensor
from torch.nn import functional as F

from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import CheckpointError

Grid = tuple[int, int]


def resize_grid(lazy: LazyTensor, trained: Grid, wanted: Grid, prefix: int = 1) -> LazyTensor:
    """Resize position embeddings [prefix + rows * columns, C] of images by antialiased bicubic interpolation.

    Args:
        lazy: The embeddings in the checkpoint.
        trained: Rows and columns of the grid that the weights were trained on, according to their config.
        wanted: Rows and columns of the model's grid.
        prefix: Number of leading embeddings that belong to no patch. They are kept as they are.

    Raises:
        CheckpointError: The number of embeddings fits neither the stated grid nor a square one.
    """
    if len(lazy.shape) != 2:  # noqa: PLR2004 - not a table of embeddings; the loader reports both shapes
        return lazy
    found = _grid_of(lazy.shape[0] - prefix, trained, wanted)
    if found == wanted:
        return lazy

    def interpolate(old: Tensor) -> Tensor:
        kept, patches = old[:prefix].float(), old[prefix:].float()
        image = patches.reshape(1, *found, -1).permute(0, 3, 1, 2)  # [1, C, rows, columns]
        scaled = F.interpolate(image, size=wanted, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([kept, scaled.flatten(2)[0].T]).to(old.dtype)

    shape = (prefix + prod(wanted), *lazy.shape[1:])
    return lazy.map(interpolate, shape, f"resized {found[0]}x{found[1]} -> {wanted[0]}x{wanted[1]}, bicubic")


def _grid_of(count: int, trained: Grid, wanted: Grid) -> Grid:
    """Return the grid of `count` patch embeddings."""
    # Equal counts may belong to different grids (2 x 8 and 4 x 4), so the stated grid is tried first.
    if count == prod(trained):
        return trained
    if count == prod(wanted):
        return wanted
    if count > 0 and isqrt(count) ** 2 == count:
        return isqrt(count), isqrt(count)
    raise CheckpointError(
        f"The checkpoint contains {count} image position embeddings; expected {prod(trained)} for the stated grid "
        f"{trained[0]}x{trained[1]}, or a square number. Their grid is unknown. Nothing was loaded.",
        expected=prod(trained),
        found=count,
        advice="Add the config that the weights were trained with (its image_size) by registry.add_config, and "
        "override image_size.",
    )


def resize_length(lazy: LazyTensor, length: int) -> LazyTensor:
    """Resize the position embeddings [L, C] of a text tower to another context length by linear interpolation."""
    if len(lazy.shape) != 2 or lazy.shape[0] in {0, length}:  # noqa: PLR2004 - the loader reports other shapes
        return lazy
    found = lazy.shape[0]

    def interpolate(old: Tensor) -> Tensor:
        scaled = F.interpolate(old.float().T[None], size=length, mode="linear", align_corners=False)
        return scaled[0].T.to(old.dtype)

    return lazy.map(interpolate, (length, *lazy.shape[1:]), f"resized {found} -> {length}, linear")


def sin_cos_2d(width: int, grid: Grid) -> Tensor:
    """Return fixed embeddings [1 + rows * columns, C] of sines and cosines; that of the class token is zero.

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
