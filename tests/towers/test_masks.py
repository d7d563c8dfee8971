"""Masks in the convention of torch.nn.MultiheadAttention, given to layers and set on a text tower."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import InputError
from registry_core.config.model import TextConfig, VisionConfig
from registry_core.towers.layers import BlockOptions, Transformer
from registry_core.towers.masks import additive_causal_mask, from_torch
from registry_core.towers.text_transformer import TextTransformer

TEXT = {"context_length": 8, "vocab_size": 30, "width": 16, "heads": 2, "layers": 2}


@pytest.fixture
def tower():
    def make(**options):
        torch.manual_seed(0)
        return TextTransformer(TextConfig(**{**TEXT, **options}), 12, quick_gelu=False).eval()

    return make


@pytest.fixture
def tokens():
    return torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0))


class TestGivenToTheLayers:
    @pytest.mark.parametrize("kind", ["numbers", "hidden", "each head of each row"])
    def test_equals_the_towers_own_causal_attention(self, tower, tokens, kind):
        layers = tower().transformer
        mask = additive_causal_mask(8, tokens)
        given = {"numbers": mask, "hidden": mask < 0, "each head of each row": mask.repeat(6, 1, 1)}[kind]
        with torch.no_grad():
            torch.testing.assert_close(layers(tokens, given), layers(tokens, causal=True))
            x = tokens
            for block in layers.resblocks:
                x = block(x, attn_mask=given)
            torch.testing.assert_close(x, layers(tokens, causal=True))

    def test_a_float32_mask_works_in_half_precision(self, tower, tokens):
        layers = tower().transformer.bfloat16()
        with torch.no_grad():
            assert layers(tokens.bfloat16(), additive_causal_mask(8, tokens)).dtype == torch.bfloat16

    @pytest.mark.parametrize("shape", [(3, 3), (8, 7), (5, 8, 8), (8,)])
    def test_a_mask_of_another_shape_is_refused(self, tokens, shape):
        with pytest.raises(InputError) as caught:
            from_torch(torch.zeros(shape), tokens)
        assert (caught.value.argument, caught.value.expected, caught.value.found) == ("attn_mask", [8, 8], list(shape))

    def test_the_message_about_the_shape(self, tokens):
        expected = (
            r"^attn_mask has the shape \[3, 3\]; expected \[8, 8\], or one .*Nothing was computed\. .*do not swap"
        )
        with pytest.raises(InputError, match=expected):
            from_torch(torch.zeros(3, 3), tokens)


class TestSetOnATextTower:
    @pytest.mark.parametrize("embed_cls", [False, True])
    def test_can_be_read(self, tower, embed_cls):
        side = tower(embed_cls=embed_cls)
        length = 8 + embed_cls
        assert torch.equal(side.attn_mask, torch.full((length, length), float("-inf")).triu(1))
        assert "attn_mask" not in side.state_dict()
        assert tower(no_causal_mask=True).attn_mask is None
        assert side.half().attn_mask.dtype == torch.float16

    @pytest.mark.parametrize("embed_cls", [False, True])
    @pytest.mark.parametrize("length", [8, 5])
    def test_replaces_the_causal_mask(self, tower, embed_cls, length):
        text = torch.randint(1, 30, (2, length), generator=torch.Generator().manual_seed(1))
        side, free = tower(embed_cls=embed_cls), tower(embed_cls=embed_cls, no_causal_mask=True)
        with torch.no_grad():
            usual = side(text)
            side.attn_mask = side.attn_mask
            torch.testing.assert_close(side(text), usual)
            side.attn_mask = side.attn_mask < 0
            torch.testing.assert_close(side(text), usual)
            side.attn_mask = None
            torch.testing.assert_close(side(text), free(text))
        assert not torch.allclose(usual, free(text))
        assert side.attn_mask is None
        assert not side.causal
        assert side.state_dict().keys() == free.state_dict().keys()

    def test_moves_with_the_model(self, tower):
        side = tower()
        side.attn_mask = torch.zeros(8, 8)
        assert side.to("meta").attn_mask.device.type == "meta"


class _Adapter(nn.Module):
    """Like an adapter: it replaces a block and passes its options on."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, **options):
        return 1.5 * self.block(x, **options)


class _Double(nn.Module):
    def forward(self, x):
        return 2 * x


class TestReplacedBlocks:
    def test_fewer_more_and_wrapped(self, tokens):
        torch.manual_seed(0)
        config = VisionConfig(image_size=32, layers=2, width=16, head_width=8, patch_size=16)
        layers = Transformer(BlockOptions.of(config, 2, quick_gelu=False), 2).eval()
        first, second = layers.resblocks
        with torch.no_grad():
            layers.resblocks = layers.resblocks[:1]
            torch.testing.assert_close(layers(tokens), first(tokens))
            layers.resblocks = nn.Sequential(_Adapter(first), _Double(), second, second)
            torch.testing.assert_close(layers(tokens), second(second(2 * 1.5 * first(tokens))))
        assert layers.dtype == layers.get_cast_dtype() == torch.float32
        layers.resblocks = nn.ModuleList([_Double(), nn.Linear(2, 2).bfloat16()])
        assert layers.dtype == torch.bfloat16
