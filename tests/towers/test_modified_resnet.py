"""The ResNet image tower."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError, InputError
from registry_core.towers.modified_resnet import Bottleneck, ModifiedResNet


@pytest.fixture
def image():
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def test_shape_and_dtype(resnet, image):
    feature = resnet()(image)
    assert feature.shape == (3, 24)
    assert feature.dtype == torch.float32


@torch.no_grad()
def test_the_stem_and_the_stages_halve_the_image(resnet, image):
    tower = resnet()
    x = tower.stem(image)
    assert x.shape == (3, 8, 16, 16)
    shapes = []
    for stage in tower.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)]


@torch.no_grad()
def test_an_image_that_is_not_square(resnet):
    tower = resnet(image_size=(64, 96))
    assert tower.attnpool.positional_embedding.shape == (2 * 3 + 1, 256)
    assert tower(torch.randn(2, 3, 64, 96)).shape == (2, 24)


@torch.no_grad()
def test_the_pool_is_multi_head_attention_of_the_mean(resnet):
    pool = resnet().attnpool
    cells = torch.randn(3, 256, 2, 2)
    tokens = cells.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens]) + pool.positional_embedding[:, None]
    expected, _ = nn.functional.multi_head_attention_forward(
        tokens[:1], tokens, tokens, 256, pool.num_heads, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, training=False, need_weights=False, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    torch.testing.assert_close(pool(cells), expected[0])


def test_at_first_each_block_returns_its_shortcut(registry):
    model = registry.create("tiny-rn", False)
    blocks = [module for module in model.visual.modules() if isinstance(module, Bottleneck)]
    assert len(blocks) == 4
    assert not any(block.bn3.weight.any() for block in blocks)


class TestFreezing:
    def test_parameters(self, resnet):
        tower = resnet()
        tower.lock()
        assert not any(p.requires_grad for p in tower.parameters())

    @pytest.mark.parametrize(("unlocked", "prefixes"), [(1, ("attnpool",)), (2, ("layer4", "attnpool"))])
    def test_the_last_groups_stay_trainable(self, resnet, unlocked, prefixes):
        tower = resnet()
        tower.lock(unlocked)
        assert {name for name, p in tower.named_parameters() if p.requires_grad} == {
            name for name, _ in tower.named_parameters() if name.startswith(prefixes)
        }

    def test_batch_norms_update_their_statistics_unless_frozen(self, resnet, image):
        tower = resnet()
        before = tower.bn1.running_mean.clone()
        tower.lock()
        tower.train()
        tower(image)
        assert not torch.equal(tower.bn1.running_mean, before)

    def test_frozen_batch_norms_compute_the_same_in_both_modes(self, resnet, image):
        tower = resnet()
        state = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
        with torch.no_grad():
            expected = tower(image)
            tower.lock(freeze_bn_stats=True)
            tower.train()
            torch.testing.assert_close(tower(image), expected)
        torch.testing.assert_close(dict(tower.state_dict()), state, atol=0, rtol=0)


class TestRefusals:
    def test_a_single_number_of_layers(self, vit):
        with pytest.raises(BuildError) as caught:
            ModifiedResNet(vit().config, 24)
        assert caught.value.found == (2, (32, 32))

    def test_an_image_smaller_than_the_stride(self, resnet):
        expected = (
            r"four stages.*at least 32 pixels a side, got layers=\(1, 2, 1, 1\) and image_size=\(16, 16\).*built\.$"
        )
        with pytest.raises(BuildError, match=expected):
            resnet(image_size=16)

    def test_a_tensor_of_another_size(self, resnet):
        with pytest.raises(InputError) as caught:
            resnet()(torch.zeros(1, 3, 32, 32))
        assert (caught.value.expected, caught.value.found) == ("[N, 3, 64, 64]", [1, 3, 32, 32])


def test_grad_checkpointing_is_accepted(resnet, image):
    tower = resnet()
    with torch.no_grad():
        expected = tower(image)
        tower.set_grad_checkpointing()
        torch.testing.assert_close(tower(image), expected, atol=0, rtol=0)


def test_no_name_is_excluded_from_weight_decay(resnet):
    assert resnet().no_weight_decay() == set()


def test_a_conversion_to_synchronised_norms_keeps_frozen_ones(resnet, image):
    tower = resnet()
    tower.lock(freeze_bn_stats=True)
    tower.lock(freeze_bn_stats=True)
    names = list(tower.state_dict())
    expected = tower(image)
    tower = torch.nn.SyncBatchNorm.convert_sync_batchnorm(tower).train()
    assert list(tower.state_dict()) == names
    torch.testing.assert_close(tower(image), expected)
