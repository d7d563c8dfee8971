"""The text tower: pools, projections, masks and lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import InputError


@torch.no_grad()
def tokens_of(tower, ids):
    """The tokens [N, L, C] behind the last norm."""
    return tower.encode_tokens(ids)[1]


@torch.no_grad()
def test_shape_and_dtype(text_tower, ids):
    feature = text_tower()(ids)
    assert feature.shape == (3, 24)
    assert feature.dtype == torch.float32


class TestPools:
    def check(self, tower, ids, rows):
        tokens = tokens_of(tower, ids)
        with torch.no_grad():
            torch.testing.assert_close(tower(ids), tokens[torch.arange(3), rows] @ tower.text_projection)

    def test_argmax_takes_the_largest_id(self, text_tower, ids):
        self.check(text_tower(pool_type="argmax"), ids, [3, 6, 11])

    def test_eos_takes_the_first_of_its_id(self, text_tower, ids):
        ids = ids.clone()
        ids[:, 2] = 5
        ids[:, 3] = 5
        self.check(text_tower(pool_type="eos", eos_id=5), ids, [2, 2, 2])

    def test_first(self, text_tower, ids):
        self.check(text_tower(pool_type="first"), ids, [0, 0, 0])

    def test_last(self, text_tower, ids):
        self.check(text_tower(pool_type="last"), ids, [11, 11, 11])

    def test_none_projects_every_token(self, text_tower, ids):
        tower = text_tower(pool_type="none")
        with torch.no_grad():
            torch.testing.assert_close(tower(ids), tokens_of(tower, ids) @ tower.text_projection)


class TestProjections:
    def test_bias(self, text_tower, ids):
        tower = text_tower(proj_bias=True)
        assert isinstance(tower.text_projection, nn.Linear)
        assert set(tower.state_dict()) >= {"text_projection.weight", "text_projection.bias"}
        with torch.no_grad():
            expected = tower.text_projection(tokens_of(tower, ids)[torch.arange(3), [3, 6, 11]])
            torch.testing.assert_close(tower(ids), expected)

    def test_none_gives_the_towers_width(self, text_tower, ids):
        tower = text_tower(proj_type="none")
        assert "text_projection" not in tower.state_dict()
        with torch.no_grad():
            torch.testing.assert_close(tower(ids), tokens_of(tower, ids)[torch.arange(3), [3, 6, 11]])


@torch.no_grad()
def test_output_tokens_come_with_the_feature(text_tower, ids):
    tower = text_tower(output_tokens=True)
    feature, tokens = tower(ids)
    torch.testing.assert_close(tokens, tokens_of(tower, ids))
    torch.testing.assert_close(feature, text_tower()(ids))


class TestMask:
    @torch.no_grad()
    def test_a_token_sees_none_after_it(self, text_tower, ids):
        changed = ids.clone()
        changed[:, 8:] = 50
        before, after = tokens_of(text_tower(), ids), tokens_of(text_tower(), changed)
        torch.testing.assert_close(before[:, :8], after[:, :8])
        assert (before[:, 8:] - after[:, 8:]).abs().max() > 1e-3

    @torch.no_grad()
    def test_without_the_mask_every_token_sees_all(self, text_tower, ids):
        changed = ids.clone()
        changed[:, 8:] = 50
        tower = text_tower(no_causal_mask=True)
        assert (tokens_of(tower, ids)[:, 0] - tokens_of(tower, changed)[:, 0]).abs().max() > 1e-4

    @torch.no_grad()
    @pytest.mark.parametrize("length", [7, 8, 11])
    def test_padding_can_be_cut_off(self, text_tower, ids, length):
        tower = text_tower()
        torch.testing.assert_close(tower(ids[:2, :length]), tower(ids[:2]))


def test_layer_scale_activation_and_norm_are_the_configs(text_tower):
    tower = text_tower(ls_init_value=0.1, norm_kwargs={"eps": 1e-4}, act_kwargs={"approximate": "tanh"}, mlp_ratio=2.0)
    assert {norm.eps for norm in tower.modules() if isinstance(norm, nn.LayerNorm)} == {1e-4}
    assert {gelu.approximate for gelu in tower.modules() if isinstance(gelu, nn.GELU)} == {"tanh"}
    assert tower.transformer.resblocks[0].mlp.c_fc.weight.shape == (64, 32)
    assert sum(name.endswith("gamma") for name in tower.state_dict()) == 4


@torch.no_grad()
def test_quick_gelu_changes_the_feature(text_tower, ids):
    assert (text_tower(quick_gelu=True)(ids) - text_tower()(ids)).abs().max() > 1e-4


class TestRefusals:
    def test_too_many_tokens(self, text_tower):
        with pytest.raises(InputError, match=r"\[N, L\] with L from 1 to 12, got \[2, 13\].*Truncate.*context_length="):
            text_tower()(torch.ones(2, 13, dtype=torch.long))

    @pytest.mark.parametrize("shape", [(12,), (1, 2, 12)])
    def test_another_number_of_dimensions(self, text_tower, shape):
        with pytest.raises(InputError, match=r"\[N, L\].*got \[" + ", ".join(map(str, shape))):
            text_tower()(torch.ones(shape, dtype=torch.long))


class TestLocking:
    def names(self, tower):
        return {name.partition(".resblocks.")[0] for name, p in tower.named_parameters() if p.requires_grad}

    def test_everything(self, text_tower):
        tower = text_tower()
        tower.lock()
        assert not self.names(tower)

    def test_all_but_the_projection(self, text_tower):
        tower = text_tower()
        tower.lock(1)
        assert self.names(tower) == {"text_projection"}

    def test_all_but_the_last_block_and_what_follows(self, text_tower):
        tower = text_tower()
        tower.lock(2)
        open_names = {name for name, p in tower.named_parameters() if p.requires_grad}
        assert open_names == {
            name for name, _ in tower.named_parameters()
            if name.startswith(("transformer.resblocks.1.", "ln_final.", "text_projection"))
        }  # fmt: skip

    def test_more_groups_than_there_are_open_everything(self, text_tower):
        tower = text_tower()
        tower.lock(0)
        tower.lock(99)
        assert all(p.requires_grad for p in tower.parameters())


def test_grad_checkpointing_recomputes_the_blocks(text_tower, ids):
    tower = text_tower().train()
    calls = []
    for block in tower.transformer.resblocks:
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    tower.set_grad_checkpointing()
    tower(ids).sum().backward()
    assert len(calls) == 4


def test_names_left_out_of_weight_decay(text_tower):
    assert text_tower().no_weight_decay() == {"positional_embedding"}


def test_norms_are_frozen_with_their_block(registry):
    model = registry.create("tiny", pretrained=False, custom_text=True)
    for lock in (model.lock_text_tower, registry.create("tiny", pretrained=False).lock_text_tower):
        with pytest.raises(InputError, match=r"freeze_layer_norm=False: .* with their block\. Nothing was frozen"):
            lock(1, freeze_layer_norm=False)


@pytest.mark.parametrize("unlocked", [-1, 1.5, None])
def test_no_number_of_groups_is_refused(registry, unlocked):
    model = registry.create("tiny", False)
    for lock in (model.lock_text_tower, model.lock_image_tower):
        with pytest.raises(InputError, match=rf"{unlocked} groups of a tower are .* from 0 on.* Nothing was frozen"):
            lock(unlocked)
    assert all(parameter.requires_grad for parameter in model.parameters())
