"""The text tower: pooling, projections, masks, the class token and lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import InputError


@torch.no_grad()
def tokens_of(tower, ids):
    """The tokens [N, L, C] after the last norm."""
    return tower.encode_tokens(ids)[1]


@torch.no_grad()
def test_shape_and_dtype(text_tower, ids):
    feature = text_tower()(ids)
    assert feature.shape == (3, 24)
    assert feature.dtype == torch.float32


class TestPooling:
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
def test_output_tokens_are_returned_with_the_features(text_tower, ids):
    tower = text_tower(output_tokens=True)
    feature, tokens = tower(ids)
    torch.testing.assert_close(tokens, tokens_of(tower, ids))
    torch.testing.assert_close(feature, text_tower()(ids))


class TestMask:
    @torch.no_grad()
    def test_a_token_does_not_depend_on_later_ones(self, text_tower, ids):
        changed = ids.clone()
        changed[:, 8:] = 50
        before, after = tokens_of(text_tower(), ids), tokens_of(text_tower(), changed)
        torch.testing.assert_close(before[:, :8], after[:, :8])
        assert (before[:, 8:] - after[:, 8:]).abs().max() > 1e-3

    @torch.no_grad()
    def test_without_the_mask_a_token_depends_on_later_ones(self, text_tower, ids):
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


class TestClassToken:
    @pytest.fixture
    def tower(self, text_tower):
        def make(**keys):
            return text_tower(context_length=8, vocab_size=50, width=24, heads=4, embed_cls=True, **keys)

        return make

    @pytest.fixture
    def text(self):
        return torch.randint(1, 50, (3, 8), generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def test_it_attends_to_the_whole_text_and_no_token_attends_to_it(self, tower, text):
        tower = tower()
        feature, tokens = tower.encode_tokens(text)
        assert feature.shape == (3, 24)
        assert tokens.shape == (3, 8, 24)
        other = text.clone()
        other[:, -1] = 1 + other[:, -1] % 49
        changed, changed_tokens = tower.encode_tokens(other)
        assert (changed - feature).abs().max() > 1e-3
        torch.testing.assert_close(changed_tokens[:, :-1], tokens[:, :-1])
        tower.cls_emb += torch.randn(24)
        torch.testing.assert_close(tower.encode_tokens(text)[1], tokens)

    @torch.no_grad()
    def test_positions_after_padding_are_hidden(self, tower, text):
        text[:, 5:] = 0
        tower = tower()
        before, _ = tower.encode_tokens(text)
        tower.positional_embedding[6:8] += torch.randn(2, 24)  # positions after a padding id
        torch.testing.assert_close(tower.encode_tokens(text)[0], before)
        tower.positional_embedding[5] += torch.randn(24)
        assert (tower.encode_tokens(text)[0] - before).abs().max() > 1e-3

    @torch.no_grad()
    def test_without_a_causal_mask_tokens_attend_to_it(self, tower, text):
        tower = tower(no_causal_mask=True)
        _, tokens = tower.encode_tokens(text)
        tower.cls_emb += torch.randn(24)  # a shift of all channels would be normalised away
        assert (tower.encode_tokens(text)[1] - tokens)[:, 0].abs().max() > 1e-3

    def test_it_is_locked_with_the_embeddings(self, tower):
        tower = tower()
        tower.lock(3)
        assert not tower.cls_emb.requires_grad
        tower.lock(4)
        assert tower.cls_emb.requires_grad


class TestRefusals:
    @pytest.mark.parametrize("shape", [(2, 13), (12,), (1, 2, 12)])
    def test_token_ids_of_another_shape(self, text_tower, shape):
        with pytest.raises(InputError) as caught:
            text_tower()(torch.ones(shape, dtype=torch.long))
        assert (caught.value.argument, caught.value.found) == ("text", list(shape))
        assert caught.value.expected == "[N, L] with L from 1 to 12"

    def test_an_id_that_is_not_in_the_vocabulary(self, text_tower):
        with pytest.raises(InputError) as caught:
            text_tower()(torch.full((1, 12), 100))
        assert (caught.value.expected, caught.value.found) == ((0, 99), (100, 100))

    def test_an_unknown_pooling(self, text_tower, ids):
        tower = text_tower()
        tower.pool_type = "eoss"
        with pytest.raises(InputError) as caught:
            tower(ids)
        assert (caught.value.found, caught.value.suggestions) == ("eoss", ["eos"])


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
        trainable = {name for name, p in tower.named_parameters() if p.requires_grad}
        assert trainable == {
            name for name, _ in tower.named_parameters()
            if name.startswith(("transformer.resblocks.1.", "ln_final.", "text_projection"))
        }  # fmt: skip

    def test_more_groups_than_exist_make_everything_trainable(self, text_tower):
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


def test_names_excluded_from_weight_decay(text_tower):
    assert text_tower().no_weight_decay() == {"positional_embedding"}
