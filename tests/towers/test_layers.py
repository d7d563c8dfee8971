"""The shared layers, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError
from registry_core.config.model import ActivationOptions, NormOptions
from registry_core.towers.layers import Attention, BlockOptions, LayerNorm, ResidualAttentionBlock, checked_heads


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torchs_multi_head_attention(causal):
    ours, theirs = Attention(32, 4), nn.MultiheadAttention(32, 4, batch_first=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(2, 7, 32)
        mask = nn.Transformer.generate_square_subsequent_mask(7) if causal else None
        expected, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
        torch.testing.assert_close(ours(x, causal=causal), expected)


def test_a_block_is_two_residual_steps():
    block = ResidualAttentionBlock(BlockOptions(32, 4, 2.0, 0.3, True, NormOptions(), ActivationOptions()))
    x = torch.randn(2, 5, 32)
    with torch.no_grad():
        half = x + block.attn(block.ln_1(x)) * 0.3
        hidden = block.mlp.c_fc(block.ln_2(half))
        expected = half + block.mlp.c_proj(hidden * (1.702 * hidden).sigmoid()) * 0.3
        torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_float32_norm_computes_in_float32_and_returns_the_inputs_dtype(dtype):
    norm = LayerNorm(16)
    x = (torch.randn(4, 16) * 300).to(dtype)
    got = norm(x)
    assert got.dtype == dtype
    torch.testing.assert_close(got, nn.functional.layer_norm(x.float(), (16,)).to(dtype), atol=0, rtol=0)


def test_a_norm_in_half_precision_stays_in_half_precision():
    assert LayerNorm(16).to(torch.bfloat16)(torch.randn(4, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "vision_or_text",
    [
        {"text_cfg": {"heads": 3}},
        {"vision_cfg": {"head_width": 1024}},
        {"vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 7}},
        {"vision_cfg": {"layers": [1, 1, 1, 1], "width": 10, "head_width": 7, "patch_size": None}},
    ],
)
def test_heads_that_do_not_divide_the_width_are_refused(registry, vision_or_text):
    with pytest.raises(BuildError) as caught:
        registry.create("tiny", False, **vision_or_text)
    assert caught.value.expected.startswith("a divisor of ")


def test_the_message_about_heads():
    expected = (
        r"attention layer of width 32 cannot have 5 heads: .*multiple.* Nothing was built\. Correct heads, head_width"
    )
    with pytest.raises(BuildError, match=expected) as caught:
        checked_heads(32, 5)
    assert (caught.value.expected, caught.value.found) == ("a divisor of 32", 5)
