"""Outputs of selected blocks. Their values are compared with open_clip's in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from registry_core import BuildError, InputError
from registry_core.towers.intermediates import (
    IntermediateOptions,
    image_intermediates,
    plain_indices,
    selected_blocks,
    text_intermediates,
)

OPTIONS = IntermediateOptions()


class TestIndices:
    @pytest.mark.parametrize(
        ("indices", "expected"),
        [
            (None, [0, 1, 2, 3]),
            (1, [3]),
            (4, [0, 1, 2, 3]),
            ([2, 0], [2, 0]),
            ((-1, -4), [3, 0]),
            (np.int64(2), [2, 3]),
            (torch.tensor(2), [2, 3]),
            (np.array([1, -1]), [1, 3]),
            (torch.tensor([0]), [0]),
        ],
    )
    def test_select_blocks(self, indices, expected):
        assert selected_blocks(4, indices) == expected

    @pytest.mark.parametrize("indices", [5, 0, -1])
    def test_a_number_of_blocks_that_do_not_exist(self, indices):
        with pytest.raises(InputError) as caught:
            selected_blocks(4, indices)
        assert (caught.value.expected, caught.value.found) == ((1, 4), indices)

    @pytest.mark.parametrize("indices", [[4], [0, -5], []])
    def test_blocks_that_do_not_exist(self, indices):
        with pytest.raises(InputError) as caught:
            selected_blocks(4, indices)
        assert (caught.value.expected, caught.value.found) == ((0, 3), indices)

    @pytest.mark.parametrize("indices", ["1", 1.5, [None], [0, 1.5], torch.tensor(1.5), True])
    def test_anything_but_whole_numbers(self, indices):
        with pytest.raises(InputError) as caught:
            plain_indices(indices)
        assert caught.value.found is indices

    @pytest.mark.parametrize(
        ("indices", "message"),
        [
            (5, r"^The last 5 blocks were requested, and the tower has 4\. Nothing was computed\. Request 1 to 4\.$"),
            ([4], r"^The blocks \[4\] were requested, and the tower has 4\. Nothing .* one of the blocks 0 to 3\.$"),
            ("x", r"^The blocks 'x' were requested: expected a number of last blocks, or a sequence of block indices"),
        ],
    )
    def test_messages(self, indices, message):
        with pytest.raises(InputError, match=message):
            selected_blocks(4, indices)


def test_an_unknown_layout():
    with pytest.raises(InputError, match=r"^image_output_fmt='NHWC': expected NCHW or NLC\. Nothing was") as caught:
        IntermediateOptions(layout="NHWC")
    assert (caught.value.argument, caught.value.found) == ("image_output_fmt", "NHWC")


class TestModifiedResNet:
    @pytest.fixture
    def image(self):
        return torch.randn(1, 3, 64, 64)

    @torch.no_grad()
    def test_returns_its_stages(self, resnet, image):
        tower = resnet()
        outputs = image_intermediates(tower, image, IntermediateOptions([0, 4]))
        assert [tuple(found.shape) for found in outputs["image_intermediates"]] == [(1, 8, 16, 16), (1, 256, 2, 2)]
        assert torch.equal(outputs["image_features"], tower(image))

    def test_has_no_tokens(self, resnet, image):
        expected = r"^image_output_fmt='NLC': a ModifiedResNet has feature maps, layout 'NCHW', and no tokens\. Nothing"
        with pytest.raises(InputError, match=expected) as caught:
            image_intermediates(resnet(), image, IntermediateOptions(layout="NLC"))
        assert (caught.value.argument, caught.value.expected) == ("image_output_fmt", "NCHW")

    @torch.no_grad()
    def test_needs_its_last_stage_for_the_feature(self, resnet, image):
        expected = (
            r"^stop_early=True: the feature of a ModifiedResNet needs the last stage.* or select the last stage\.$"
        )
        with pytest.raises(InputError, match=expected) as caught:
            image_intermediates(resnet(), image, IntermediateOptions([1], stop_early=True))
        assert caught.value.argument == "stop_early"
        outputs = image_intermediates(resnet(), image, IntermediateOptions([1], stop_early=True, only=True))
        assert len(outputs["image_intermediates"]) == 1


class TestVisionTransformer:
    def test_norms_of_another_width_than_the_blocks(self, vit, image):
        tower = vit(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=2)
        expected = r"^normalize_intermediates=True: the last norm .* attentional pooler .* Leave the argument out\.$"
        with pytest.raises(InputError, match=expected) as caught:
            image_intermediates(tower, image, IntermediateOptions(normalize=True))
        assert caught.value.argument == "normalize_intermediates"

    def test_patch_dropout_leaves_no_map(self, vit, image):
        tower = vit(patch_dropout=0.5).train()
        expected = r"^Patch dropout kept 8 of 16 patches, .* map\. Nothing was returned\. Call eval\(\) .*='NLC'\.$"
        with pytest.raises(InputError, match=expected) as caught:
            image_intermediates(tower, image, OPTIONS)
        assert (caught.value.expected, caught.value.found) == (16, 8)
        outputs = image_intermediates(tower, image, IntermediateOptions(layout="NLC"))
        assert outputs["image_intermediates"][0].shape == (3, 8, 32)


@pytest.mark.parametrize("intermediates", [image_intermediates, text_intermediates])
def test_towers_without_an_implementation(intermediates):
    expected = r"^A Linear does not support intermediate outputs\. Nothing was computed\. The package .* must register"
    with pytest.raises(BuildError, match=expected) as caught:
        intermediates(nn.Linear(1, 1), torch.zeros(1), OPTIONS)
    assert caught.value.name == "Linear"
