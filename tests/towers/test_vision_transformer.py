"""The ViT image tower: its options, each seen to matter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError, InputError


@torch.no_grad()
def by_steps(tower, picture):
    """Feature of a tower whose head is the plain one: class token, norm, projection."""
    tokens = tower.transformer(tower.embed(picture))
    return tower.ln_post(tokens[:, 0]) @ tower.proj


@torch.no_grad()
def test_shape_and_dtype(vit, picture):
    feature = vit()(picture)
    assert feature.shape == (3, 24)
    assert feature.dtype == torch.float32


@torch.no_grad()
def test_the_class_token_is_normed_and_projected(vit, picture):
    tower = vit()
    torch.testing.assert_close(tower(picture), by_steps(tower, picture))


@torch.no_grad()
def test_a_picture_that_is_not_square(vit):
    tower = vit(image_size=(16, 40), patch_size=(8, 4))
    assert tower.grid_size == (2, 10)
    assert tower.positional_embedding.shape == (21, 32)
    assert tower(torch.randn(2, 3, 16, 40)).shape == (2, 24)
    with pytest.raises(InputError, match=r"\[N, 3, 16, 40\], got \[2, 3, 40, 16\]"):
        tower(torch.randn(2, 3, 40, 16))


@torch.no_grad()
def test_position_embeddings_run_row_by_row(vit):
    """A patch's token is its own pixels and its own position: rows first, then columns."""
    tower = vit(no_ln_pre=True, image_size=(16, 24))
    blank, marked = torch.zeros(1, 3, 16, 24), torch.zeros(1, 3, 16, 24)
    marked[:, :, 8:, 8:16] = 1.0  # second row, second of three columns
    changed = (tower.embed(marked) - tower.embed(blank)).abs().sum(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == [1 + 3 + 1]


@torch.no_grad()
def test_average_pool_leaves_the_class_token_out(vit, picture):
    tower = vit(pool_type="avg")
    tokens = tower.ln_post(tower.transformer(tower.embed(picture)))
    torch.testing.assert_close(tower(picture), tokens[:, 1:].mean(dim=1) @ tower.proj)


@torch.no_grad()
def test_final_norm_after_the_pool(vit, picture):
    tower = vit(pool_type="avg", final_ln_after_pool=True)
    tokens = tower.transformer(tower.embed(picture))
    torch.testing.assert_close(tower(picture), tower.ln_post(tokens[:, 1:].mean(dim=1)) @ tower.proj)
    before = vit(pool_type="avg")
    assert (before(picture) - tower(picture)).abs().max() > 1e-3


@torch.no_grad()
def test_no_pool_gives_every_token(vit, picture):
    tower = vit(pool_type="none")
    tokens = tower.ln_post(tower.transformer(tower.embed(picture)))
    torch.testing.assert_close(tower(picture), tokens @ tower.proj)


@torch.no_grad()
@pytest.mark.parametrize("final_ln_after_pool", [False, True])
def test_output_tokens_are_the_patches(vit, picture, final_ln_after_pool):
    tower = vit(output_tokens=True, final_ln_after_pool=final_ln_after_pool)
    feature, tokens = tower(picture)
    after = tower.transformer(tower.embed(picture))
    torch.testing.assert_close(feature, tower.ln_post(after[:, 0]) @ tower.proj)
    torch.testing.assert_close(tokens, (after if final_ln_after_pool else tower.ln_post(after))[:, 1:])


def test_without_the_first_norm(vit):
    assert isinstance(vit(no_ln_pre=True).ln_pre, nn.Identity)
    assert not any("ln_pre" in name for name in vit(no_ln_pre=True).state_dict())


@torch.no_grad()
def test_layer_scale_of_zero_switches_the_blocks_off(vit, picture):
    tower = vit(ls_init_value=0.5)
    scales = [module for name, module in tower.named_modules() if name.rpartition(".")[2] in {"ls_1", "ls_2"}]
    assert len(scales) == 4
    assert tower.transformer.resblocks[1].ls_2.gamma.shape == (32,)
    on = tower(picture)
    for scale in scales:
        scale.gamma.zero_()
    tokens = tower.embed(picture)
    torch.testing.assert_close(tower.transformer(tokens), tokens)
    assert (on - tower(picture)).abs().max() > 1e-3


def test_layer_scale_starts_at_its_value(registry):
    model = registry.create("tiny", False, vision_cfg={"ls_init_value": 0.01}, text_cfg={"ls_init_value": 0.02})
    assert torch.equal(model.visual.transformer.resblocks[0].ls_1.gamma, torch.full((64,), 0.01))
    assert torch.equal(model.transformer.resblocks[0].ls_2.gamma, torch.full((64,), 0.02))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, nn.GELU(approximate="none")),
        ({"act_kwargs": {"approximate": "tanh"}}, nn.GELU(approximate="tanh")),
    ],
)
def test_the_activation_is_the_configs(vit, keys, expected):
    x = torch.linspace(-3, 3, 50)
    gelu = vit(**keys).transformer.resblocks[0].mlp.gelu
    torch.testing.assert_close(gelu(x), expected(x), atol=0, rtol=0)
    other = nn.GELU(approximate="tanh" if expected.approximate == "none" else "none")
    assert not torch.equal(gelu(x), other(x))


def test_quick_gelu_is_a_sigmoid(vit):
    x = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(vit(quick_gelu=True).transformer.resblocks[0].mlp.gelu(x), x * (1.702 * x).sigmoid())


def test_the_norms_epsilon_is_the_configs(vit):
    tower = vit(norm_kwargs={"eps": 1e-3})
    norms = [module for module in tower.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 + 2 * 2
    assert {norm.eps for norm in norms} == {1e-3}
    assert {norm.eps for norm in vit().modules() if isinstance(norm, nn.LayerNorm)} == {1e-5}


def test_the_hidden_width_truncates(vit):
    assert vit(mlp_ratio=2.7).transformer.resblocks[0].mlp.c_fc.weight.shape == (int(32 * 2.7), 32)


def test_sines_and_cosines_are_fixed_and_the_class_tokens_are_zero(registry):
    model = registry.create("tiny", False, vision_cfg={"pos_embed_type": "sin_cos_2d"})
    positions = model.visual.positional_embedding
    assert not positions.requires_grad
    assert not positions[0].any()
    assert positions[1:].abs().max() <= 1
    assert len(set(map(tuple, positions[1:].tolist()))) == 16
    # The first patch lies in column 0 and row 0: sines are 0 and cosines 1, in both halves.
    assert torch.equal(positions[1].view(2, 2, 16)[:, 0], torch.zeros(2, 16))
    assert torch.equal(positions[1].view(2, 2, 16)[:, 1], torch.ones(2, 16))
    # The next one to the right differs in the first half only.
    assert torch.equal(positions[2][32:], positions[1][32:])
    assert not torch.equal(positions[2][:32], positions[1][:32])


class TestPatchDropout:
    def test_evaluation_drops_nothing(self, vit, picture):
        with torch.no_grad():
            torch.testing.assert_close(vit(patch_dropout=0.5)(picture), vit()(picture), atol=0, rtol=0)

    def test_training_keeps_the_class_token_and_a_share_of_the_patches(self, vit, picture):
        tower = vit(patch_dropout=0.75, no_ln_pre=True).train()
        with torch.no_grad():
            kept = tower.embed(picture)
            everything = tower.eval().embed(picture)
        assert kept.shape == (3, 1 + 4, 32)
        torch.testing.assert_close(kept[:, 0], everything[:, 0], atol=0, rtol=0)
        for row in range(3):
            places = [
                (everything[row, 1:] == token).all(dim=-1).nonzero().flatten().tolist() for token in kept[row, 1:]
            ]
            assert all(len(place) == 1 for place in places)
            assert len({place[0] for place in places}) == 4  # no patch twice

    def test_pictures_and_calls_drop_different_patches(self, vit, picture):
        tower = vit(patch_dropout=0.5, no_ln_pre=True).train()
        torch.manual_seed(0)
        with torch.no_grad():
            same = picture[:1].expand(3, -1, -1, -1)
            first, second = tower.embed(same), tower.embed(same)
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first, second)

    def test_one_patch_always_stays(self, vit, picture):
        tower = vit(patch_dropout=0.999).train()
        with torch.no_grad():
            assert tower.embed(picture).shape == (3, 2, 32)


class TestRefusals:
    def test_four_stages(self, vit):
        with pytest.raises(BuildError, match=r"number of layers and a patch size, got layers=\(1, 1, 1, 1\)"):
            vit(layers=(1, 1, 1, 1))

    def test_no_patch_size(self, vit):
        with pytest.raises(BuildError, match=r"got layers=2 and patch_size=None.*Nothing was built"):
            vit(patch_size=None)

    def test_patches_larger_than_the_picture(self, vit):
        with pytest.raises(BuildError, match=r"Patches of \(64, 64\) do not fit a picture of \(32, 32\)"):
            vit(patch_size=64)

    @pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 3, 32, 31), (2, 3, 1, 32, 32)])
    def test_a_tensor_of_another_shape(self, vit, shape):
        with pytest.raises(
            InputError, match=r"\[N, 3, 32, 32\], got \[" + ", ".join(map(str, shape)) + r"\].*preprocess"
        ):
            vit()(torch.zeros(shape))

    def test_an_input_error_is_a_value_error(self, vit):
        with pytest.raises(ValueError, match="takes pictures"):
            vit()(torch.zeros(1, 3, 8, 8))
