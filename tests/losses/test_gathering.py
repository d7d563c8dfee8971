"""The checks before features are compared: a process group, and one text for each image."""

from __future__ import annotations

import pytest
import torch
from loss_cases import EXCHANGES, GATHERINGS, KINDS, OURS, features, make

from registry_core import InputError
from registry_core.losses.gathering import check_pair, check_process_group


def test_without_a_process_group():
    with pytest.raises(InputError, match=r"for world_size=2 processes, and there is no process group.*init_process"):
        check_process_group(0, 2)


@pytest.mark.parametrize(
    ("kind", "options"), [*(("clip", each) for each in GATHERINGS), *(("siglip", each) for each in EXCHANGES)]
)
def test_each_way_of_gathering_needs_a_process_group(kind, options):
    loss = make(OURS, kind, options, 0, 2)
    with pytest.raises(InputError) as caught:
        loss(*features(kind).values())
    assert (caught.value.argument, caught.value.found) == ("world_size", 2)


class TestPairs:
    def test_of_different_length(self):
        with pytest.raises(InputError, match=r"one shape \[N, E\], got \[4, 8\] for images and \[3, 8\] for texts"):
            check_pair(torch.ones(4, 8), torch.ones(3, 8))

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_different_length_are_refused_by_each_loss(self, kind):
        inputs = features(kind)
        inputs["text_features"] = inputs["text_features"][:3]
        with pytest.raises(InputError) as caught:
            make(OURS, kind, {})(**inputs)
        assert (caught.value.argument, caught.value.found) == ("text_features", ([4, 8], [3, 8]))

    def test_with_a_side_that_is_none(self):
        with pytest.raises(InputError, match="the features of one side are None"):
            check_pair(None, torch.ones(3, 8))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("side", ["image_features", "text_features"])
    def test_with_a_side_that_is_none_are_refused_by_each_loss(self, kind, side):
        with pytest.raises(InputError) as caught:
            make(OURS, kind, {})(**{**features(kind), side: None})
        assert caught.value.argument == side
