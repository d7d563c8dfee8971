"""Cross-attention and the attentional pooler, against torch's own attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core.config.model import ActivationOptions, NormOptions
from registry_core.towers.cross_attention import AttentionalPooler, CrossAttention, CrossAttentionBlock
from registry_core.towers.layers import BlockOptions


@pytest.mark.parametrize("context_width", [24, 40])
@torch.no_grad()
def test_cross_attention_equals_torchs(context_width):
    theirs = nn.MultiheadAttention(24, 4, kdim=context_width, vdim=context_width, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    ours = CrossAttention(24, 4, context_width)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x, context = torch.randn(3, 5, 24), torch.randn(3, 9, context_width)
    expected = theirs(x, context, context, need_weights=False)[0]
    torch.testing.assert_close(ours(x, ours.keys_and_values(context)), expected)


@torch.no_grad()
def test_rows_can_share_keys_and_values():
    attention = CrossAttention(24, 4, 24)
    x, context = torch.randn(6, 5, 24), torch.randn(2, 9, 24)
    expected = attention(x, attention.keys_and_values(context.repeat_interleave(3, dim=0)))
    torch.testing.assert_close(attention(x, attention.keys_and_values(context)), expected)


@torch.no_grad()
def test_the_poolers_normalised_queries_attend_to_the_tokens(shake):
    pooler = shake(lambda: AttentionalPooler(16, 24, 4, 6))
    tokens = torch.randn(3, 9, 24)
    query = pooler.ln_q(pooler.query).repeat(3, 1, 1)
    expected = pooler.attn(query, pooler.attn.keys_and_values(pooler.ln_k(tokens)))
    assert expected.shape == (3, 6, 16)
    torch.testing.assert_close(pooler(tokens), expected)


@torch.no_grad()
def test_a_block_is_two_residual_steps(shake):
    options = BlockOptions(24, 4, 2.0, 0.3, False, NormOptions(), ActivationOptions())
    block = shake(lambda: CrossAttentionBlock(options))
    x, context = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    attended = x + block.ls_1(block.attn(block.ln_1(x), block.attn.keys_and_values(block.ln_1_kv(context))))
    torch.testing.assert_close(block(x, context), attended + block.ls_2(block.mlp(block.ln_2(attended))))
