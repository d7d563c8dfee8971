"""Position embeddings for another grid or length."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from registry_core import CheckpointError, LazyTensor
from registry_core.towers.positions import resize_grid, resize_length, sin_cos_2d

sides = st.integers(1, 9)
grids = st.tuples(sides, sides)


def lazy(tensor):
    return LazyTensor(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), lambda: tensor)


@given(trained=grids, wanted=grids, prefix=st.integers(0, 2))
def test_the_result_has_the_wanted_shape_and_keeps_its_prefix(trained, wanted, prefix):
    old = torch.randn(prefix + prod(trained), 4)
    resized = resize_grid(lazy(old), trained, wanted, prefix)
    new = resized.load()
    assert resized.shape == tuple(new.shape) == (prefix + prod(wanted), 4)
    assert torch.equal(new[:prefix], old[:prefix])
    if trained == wanted:
        assert torch.equal(new, old)
        assert not resized.note
    else:
        assert resized.note == f"resized {trained[0]}x{trained[1]} -> {wanted[0]}x{wanted[1]}, bicubic"


@given(trained=grids, wanted=grids)
def test_a_constant_grid_stays_constant(trained, wanted):
    old = torch.full((1 + prod(trained), 3), 2.5)
    torch.testing.assert_close(resize_grid(lazy(old), trained, wanted).load(), torch.full((1 + prod(wanted), 3), 2.5))


@given(trained=grids, wanted=grids)
def test_rows_stay_rows(trained, wanted):
    """A grid whose values depend on the row alone still does so after the resize."""
    rows = torch.arange(trained[0], dtype=torch.float32)[:, None].expand(trained).reshape(-1, 1)
    new = resize_grid(lazy(torch.cat([torch.zeros(1, 1), rows])), trained, wanted).load()[1:].reshape(wanted)
    torch.testing.assert_close(new, new[:, :1].expand(wanted), atol=1e-4, rtol=0)


def test_another_grid_of_the_same_count_is_resized():
    """2 x 8 and 4 x 4 have the same number of patches."""
    old = torch.randn(17, 4)
    new = resize_grid(lazy(old), (2, 8), (4, 4)).load()
    assert not torch.allclose(new, old)


def test_a_square_count_is_a_square_grid_if_the_stated_grid_does_not_fit():
    assert resize_grid(lazy(torch.randn(10, 4)), (2, 2), (4, 4)).note == "resized 3x3 -> 4x4, bicubic"


def test_weights_that_have_the_wanted_grid_are_unchanged():
    old = torch.randn(7, 4)
    assert torch.equal(resize_grid(lazy(old), (4, 4), (2, 3)).load(), old)


def test_a_count_that_fits_no_grid_is_refused():
    expected = (
        r"contains 7 image position embeddings; expected 16 for the stated grid 4x4, or a square number\..*"
        r"Nothing was loaded\. Add the config that the weights were trained with \(its image_size\) by registry"
    )
    with pytest.raises(CheckpointError, match=expected) as caught:
        resize_grid(lazy(torch.randn(8, 4)), (4, 4), (5, 5))
    assert (caught.value.expected, caught.value.found) == (16, 7)


@given(found=st.integers(1, 20), length=st.integers(1, 20))
def test_lengths(found, length):
    old = torch.randn(found, 4)
    resized = resize_length(lazy(old), length)
    assert resized.shape == tuple(resized.load().shape) == (length, 4)
    assert bool(resized.note) is (found != length)
    if found == length:
        assert torch.equal(resized.load(), old)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_resized_in_float_and_stays_half(dtype):
    old = torch.randn(17, 4).to(dtype)
    new = resize_grid(lazy(old), (4, 4), (6, 6)).load()
    assert new.dtype == dtype
    torch.testing.assert_close(new, resize_grid(lazy(old.float()), (4, 4), (6, 6)).load().to(dtype), atol=0, rtol=0)
    assert resize_length(lazy(old), 5).load().dtype == dtype


@given(grid=grids)
def test_sines_and_cosines_differ_for_every_patch(grid):
    table = sin_cos_2d(32, grid)
    assert table.shape == (1 + prod(grid), 32)
    assert not table[0].any()
    distances = torch.cdist(table[1:].double(), table[1:].double()) + torch.eye(prod(grid)) * 9
    assert distances.min() > 0.1
