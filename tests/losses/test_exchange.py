"""The ring of processes. test_several_processes.py tests the ways of exchange themselves."""

from __future__ import annotations

import pytest

from registry_core.losses.exchange import EXCHANGES, ProcessRank
from registry_core.losses.options import DIST_IMPLS


@pytest.mark.parametrize(
    ("rank", "world_size", "neighbours"), [(0, 1, (0, 0)), (0, 2, (1, 1)), (0, 3, (2, 1)), (2, 3, (1, 0))]
)
def test_the_ranks_form_a_ring(rank, world_size, neighbours):
    process = ProcessRank(rank, world_size)
    assert (process.previous_rank, process.next_rank) == neighbours


def test_each_dist_impl_is_a_way_of_exchange():
    assert tuple(EXCHANGES) == DIST_IMPLS
