"""The ViT image tower: each option has an effect."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError, InputError


@torch.no_grad()
def by_steps(tower, image):
    """The feature of a tower with the plain head: class token, norm, projection."""
    tokens = tower.transformer(tower.embed(image))
    return tower.ln_post(tokens[:, 0]) @ tower.proj


@torch.no_grad()
def test_shape_and_dtype(vit, image):
    feature = vit()(image)
    assert feature.shape == (3, 24)
    assert feature.dtype == torch.float32


@torch.no_grad()
def test_the_class_token_is_normalised_and_projected(vit, image):
    tower = vit()
    torch.testing.assert_close(tower(image), by_steps(tower, image))


@torch.no_grad()
def test_an_image_that_is_not_square(vit):
    tower = vit(image_size=(16, 40), patch_size=(8, 4))
    assert tower.grid_size == (2, 10)
    assert tower.positional_embedding.shape == (21, 32)
    assert tower(torch.randn(2, 3, 16, 40)).shape == (2, 24)
    with pytest.raises(InputError) as caught:
        tower(torch.randn(2, 3, 40, 16))
    assert (caught.value.expected, caught.value.found) == ("[N, 3, 16, 40]", [2, 3, 40, 16])


@torch.no_grad()
def test_position_embeddings_run_row_by_row(vit):
    """A patch's token is its own pixels and its own position: rows first, then columns."""
    tower = vit(no_ln_pre=True, image_size=(16, 24))
    blank, marked = torch.zeros(1, 3, 16, 24), torch.zeros(1, 3, 16, 24)
    marked[:, :, 8:, 8:16] = 1.0  # second row, second of three columns
    changed = (tower.embed(marked) - tower.embed(blank)).abs().sum(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == [1 + 3 + 1]


@torch.no_grad()
def test_average_pool_leaves_the_class_token_out(vit, image):
    tower = vit(pool_type="avg")
    tokens = tower.ln_post(tower.transformer(tower.embed(image)))
    torch.testing.assert_close(tower(image), tokens[:, 1:].mean(dim=1) @ tower.proj)


@torch.no_grad()
def test_final_norm_after_the_pool(vit, image):
    tower = vit(pool_type="avg", final_ln_after_pool=True)
    tokens = tower.transformer(tower.embed(image))
    torch.testing.assert_close(tower(image), tower.ln_post(tokens[:, 1:].mean(dim=1)) @ tower.proj)
    before = vit(pool_type="avg")
    assert (before(image) - tower(image)).abs().max() > 1e-3


@torch.no_grad()
def test_no_pool_gives_every_token(vit, image):
    tower = vit(pool_type="none")
    tokens = tower.ln_post(tower.transformer(tower.embed(image)))
    torch.testing.assert_close(tower(image), tokens @ tower.proj)


@torch.no_grad()
@pytest.mark.parametrize("final_ln_after_pool", [False, True])
def test_output_tokens_are_the_patches(vit, image, final_ln_after_pool):
    tower = vit(output_tokens=True, final_ln_after_pool=final_ln_after_pool)
    feature, tokens = tower(image)
    after = tower.transformer(tower.embed(image))
    torch.testing.assert_close(feature, tower.ln_post(after[:, 0]) @ tower.proj)
    torch.testing.assert_close(tokens, (after if final_ln_after_pool else tower.ln_post(after))[:, 1:])


def test_without_the_first_norm(vit):
    assert isinstance(vit(no_ln_pre=True).ln_pre, nn.Identity)
    assert not any("ln_pre" in name for name in vit(no_ln_pre=True).state_dict())


@torch.no_grad()
def test_layer_scale_of_zero_switches_the_blocks_off(vit, image):
    tower = vit(ls_init_value=0.5)
    scales = [module for name, module in tower.named_modules() if name.rpartition(".")[2] in {"ls_1", "ls_2"}]
    assert len(scales) == 4
    assert tower.transformer.resblocks[1].ls_2.gamma.shape == (32,)
    on = tower(image)
    for scale in scales:
        scale.gamma.zero_()
    tokens = tower.embed(image)
    torch.testing.assert_close(tower.transformer(tokens), tokens)
    assert (on - tower(image)).abs().max() > 1e-3


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
    # The first patch is in column 0 and row 0: sines are 0 and cosines 1, in both halves.
    assert torch.equal(positions[1].view(2, 2, 16)[:, 0], torch.zeros(2, 16))
    assert torch.equal(positions[1].view(2, 2, 16)[:, 1], torch.ones(2, 16))
    # The next one to the right differs in the first half only.
    assert torch.equal(positions[2][32:], positions[1][32:])
    assert not torch.equal(positions[2][:32], positions[1][:32])


class TestAttentionalPooling:
    @pytest.fixture
    def tower(self, vit):
        """Makes a tower with attentional pooling, as wide as its features unless `width` differs."""

        def make(**keys):
            sizes = {"image_size": 16, "width": 24, "head_width": 8, "layers": 1}
            return vit(**{**sizes, "attn_pooler_heads": 4, "attn_pooler_queries": 6, "output_tokens": True, **keys})

        return make

    @torch.no_grad()
    def test_the_first_query_is_the_feature(self, tower):
        tower = tower(attentional_pool=True)
        image = torch.randn(2, 3, 16, 16)
        pooled = tower.ln_post(tower.attn_pool(tower.transformer(tower.embed(image))))
        feature, tokens = tower(image)
        torch.testing.assert_close(feature, pooled[:, 0] @ tower.proj)
        torch.testing.assert_close(tokens, pooled[:, 1:])

    @pytest.mark.parametrize(("kind", "source"), [("parallel", 0), ("cascade", 1)])
    @torch.no_grad()
    def test_the_feature_may_have_a_pooler_of_its_own(self, tower, kind, source):
        tower = tower(attentional_pool=kind)
        image = torch.randn(2, 3, 16, 16)
        normed = tower.ln_post(tower.transformer(tower.embed(image)))
        attended = tower.attn_pool(normed)
        feature, tokens = tower(image)
        torch.testing.assert_close(tokens, attended)
        torch.testing.assert_close(feature, tower.attn_pool_contrastive((normed, attended)[source])[:, 0] @ tower.proj)

    def test_two_poolers_need_a_tower_as_wide_as_the_embedding(self, tower):
        expected = r"^attentional_pool='cascade' needs.*width=16 and embed_dim=24\. Nothing was built\. Make them equal"
        with pytest.raises(BuildError, match=expected) as caught:
            tower(attentional_pool="cascade", width=16)
        assert (caught.value.expected, caught.value.found) == (24, 16)

    def test_poolers_are_locked_with_the_last_block(self, tower):
        tower = tower(attentional_pool=True)
        tower.lock(1)
        assert [name for name, p in tower.named_parameters() if p.requires_grad] == ["proj"]
        tower.lock(2)
        assert tower.attn_pool.query.requires_grad
        assert not tower.conv1.weight.requires_grad


class TestRefusals:
    @pytest.mark.parametrize("keys", [{"layers": (1, 1, 1, 1)}, {"patch_size": None}])
    def test_the_config_of_a_resnet(self, vit, keys):
        with pytest.raises(BuildError) as caught:
            vit(**keys)
        assert caught.value.found == (keys.get("layers", 2), keys.get("patch_size", 8))

    def test_the_message_about_a_resnet(self, vit):
        expected = (
            r"number of layers and a patch size, got layers=\(1, 1, 1, 1\) and patch_size=8.*Nothing was built\.$"
        )
        with pytest.raises(BuildError, match=expected):
            vit(layers=(1, 1, 1, 1))

    def test_patches_larger_than_the_image(self, vit):
        expected = r"Patches of \(64, 64\) pixels do not fit an image of \(32, 32\) pixels\. Nothing was built\.$"
        with pytest.raises(BuildError, match=expected) as caught:
            vit(patch_size=64)
        assert (caught.value.expected, caught.value.found) == ((32, 32), (64, 64))

    @pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 3, 32, 31), (2, 3, 1, 32, 32)])
    def test_a_tensor_of_another_shape(self, vit, shape):
        with pytest.raises(InputError) as caught:
            vit()(torch.zeros(shape))
        assert (caught.value.argument, caught.value.found) == ("image", list(shape))
        assert caught.value.expected == "[N, 3, 32, 32]"

    def test_an_unknown_pooling(self, vit, image):
        tower = vit()
        tower.pool_type = "token"
        with pytest.raises(InputError) as caught:
            tower(image)
        assert (caught.value.argument, caught.value.found) == ("pool_type", "token")
