"""ClipLoss: its labels, and the arguments that it does not support."""

from __future__ import annotations

import pytest
import torch
from loss_cases import KINDS, OURS, features, make, run

from registry_core import InputError
from registry_core.losses.contrastive import ClipLoss


class TestLabels:
    def test_are_cached_for_batches_of_one_size(self):
        loss = ClipLoss(cache_labels=True)
        first = loss.get_ground_truth(torch.device("cpu"), 4)
        assert loss.get_ground_truth(torch.device("cpu"), 4) is first
        assert loss.prev_num_logits == 4
        assert loss.get_ground_truth(torch.device("cpu"), 6).tolist() == list(range(6))
        assert loss.prev_num_logits == 6

    def test_are_made_again_without_a_cache(self):
        loss = ClipLoss()
        loss.get_ground_truth(torch.device("cpu"), 4)
        assert (loss.labels, loss.prev_num_logits) == ({}, 0)

    def test_are_cached_for_each_device(self):
        loss = ClipLoss(cache_labels=True)
        sizes = [("cpu", 4), ("meta", 4), ("meta", 6), ("cpu", 6)]
        assert [len(loss.get_ground_truth(torch.device(device), size)) for device, size in sizes] == [4, 4, 6, 6]

    def test_cached_in_inference_mode_can_be_used_in_training(self):
        loss, inputs = ClipLoss(cache_labels=True), features("clip")
        with torch.inference_mode():
            loss(**inputs)
        assert run(loss, inputs)["gradients"]["image_features"].any()

    def test_start_at_the_rows_of_the_process(self):
        loss = ClipLoss(local_loss=True, rank=2, world_size=3)
        assert loss.get_ground_truth(torch.device("cpu"), 4).tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("name", ["DistillClipLoss", "DaClipLoss"])
def test_horovod_is_not_supported_by_subclasses(name):
    with pytest.raises(InputError) as caught:
        getattr(OURS, name)(use_horovod=True)
    assert caught.value.argument == "use_horovod"


def test_horovod_is_not_supported():
    with pytest.raises(InputError, match=r"use_horovod=True: Horovod is no longer maintained.*torchrun"):
        ClipLoss(use_horovod=True)


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0), (1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_refuses_a_rank_that_is_out_of_range(kind, rank, world_size):
    with pytest.raises(InputError) as caught:
        make(OURS, kind, {}, rank, world_size)
    assert (caught.value.argument, caught.value.found) == ("rank", (rank, world_size))
