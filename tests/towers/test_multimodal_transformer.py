"""CoCa's decoder, its cross-attention and the attentional pooling, against torch's own attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError, TextConfig, VisionConfig
from registry_core.config import ActivationOptions, NormOptions
from registry_core.towers.cross_attention import AttentionalPooler, CrossAttention
from registry_core.towers.key_values import Prefix, causal_mask
from registry_core.towers.layers import BlockOptions
from registry_core.towers.multimodal_transformer import MultimodalTransformer
from registry_core.towers.text_transformer import TextTransformer
from registry_core.towers.vision_transformer import VisionTransformer


@torch.no_grad()
def shaken(module):
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module.eval()


@pytest.fixture
def decoder():
    options = BlockOptions(24, 4, 2.0, None, False, NormOptions(), ActivationOptions())
    return shaken(MultimodalTransformer(options, 2, 30))


@pytest.fixture
def pictures():
    return torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def texts():
    return torch.randn(6, 7, 24, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("other", [24, 40])
@torch.no_grad()
def test_cross_attention_is_torchs(other):
    theirs = nn.MultiheadAttention(24, 4, kdim=other, vdim=other, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    mine = CrossAttention(24, 4, other)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    mine.load_state_dict(theirs.state_dict())
    x, context = torch.randn(3, 5, 24), torch.randn(3, 9, other)
    torch.testing.assert_close(mine(x, mine.keys(context)), theirs(x, context, context, need_weights=False)[0])


@torch.no_grad()
def test_the_pooler_asks_with_its_normed_queries():
    pooler = shaken(AttentionalPooler(16, 24, 4, 6))
    tokens = torch.randn(3, 9, 24)
    query = pooler.ln_q(pooler.query).repeat(3, 1, 1)
    expected = pooler.attn(query, pooler.attn.keys(pooler.ln_k(tokens)))
    assert expected.shape == (3, 6, 16)
    torch.testing.assert_close(pooler(tokens), expected)


class TestDecoder:
    @torch.no_grad()
    def test_it_is_causal_and_sees_its_picture(self, decoder, pictures, texts):
        before = decoder(pictures, texts[:2])
        later, other = texts[:2].clone(), pictures.clone()
        later[:, 4:] += 1
        other[1] += torch.randn(5, 24)
        torch.testing.assert_close(decoder(pictures, later)[:, :4], before[:, :4])
        torch.testing.assert_close(decoder(other, texts[:2])[0], before[0])
        assert (decoder(other, texts[:2])[1] - before[1]).abs().max() > 1e-3

    @pytest.mark.parametrize("pieces", [[7], [1] * 7, [3, 1, 3], [2, 5]])
    @torch.no_grad()
    def test_texts_that_grow_in_pieces(self, decoder, pictures, texts, pieces):
        """Three texts a picture share its keys."""
        whole = decoder(pictures.repeat_interleave(3, dim=0), texts)
        keys, prefix, seen = decoder.image_keys(pictures), Prefix(2), 0
        for piece in pieces:
            found = decoder.extend(texts[:, seen : seen + piece], keys, prefix)
            seen += piece
            torch.testing.assert_close(found, whole[:, seen - 1], atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_texts_can_be_exchanged_on_the_way(self, decoder, pictures, texts):
        rows = torch.tensor([1, 1, 0, 5, 3, 3])
        keys, prefix = decoder.image_keys(pictures), Prefix(2)
        decoder.extend(texts[:, :4], keys, prefix)
        prefix.take(rows)
        found = decoder.extend(texts[rows][:, 4:], keys, prefix)
        expected = decoder(pictures.repeat_interleave(3, dim=0), texts[rows])[:, -1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_causal_mask_of_further_tokens():
    assert causal_mask(2, 4, torch.device("cpu")).tolist() == [[True, True, True, False], [True, True, True, True]]


class TestClassToken:
    @pytest.fixture
    def tower(self):
        def make(**keys):
            config = TextConfig(context_length=8, vocab_size=50, width=24, heads=4, layers=2, embed_cls=True, **keys)
            return shaken(TextTransformer(config, 16, quick_gelu=False))

        return make

    @pytest.fixture
    def text(self):
        return torch.randint(1, 50, (3, 8), generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def test_it_sees_the_whole_text_and_no_token_sees_it(self, tower, text):
        tower = tower()
        feature, tokens = tower.encode_tokens(text)
        assert feature.shape == (3, 16)
        assert tokens.shape == (3, 8, 24)
        other = text.clone()
        other[:, -1] = 1 + other[:, -1] % 49
        changed, changed_tokens = tower.encode_tokens(other)
        assert (changed - feature).abs().max() > 1e-3
        torch.testing.assert_close(changed_tokens[:, :-1], tokens[:, :-1])
        tower.cls_emb += torch.randn(24)
        torch.testing.assert_close(tower.encode_tokens(text)[1], tokens)

    @torch.no_grad()
    def test_what_follows_padding_is_hidden(self, tower, text):
        text[:, 5:] = 0
        tower = tower()
        before, _ = tower.encode_tokens(text)
        tower.positional_embedding[6:8] += torch.randn(2, 24)  # of places whose predecessor is padding
        torch.testing.assert_close(tower.encode_tokens(text)[0], before)
        tower.positional_embedding[5] += torch.randn(24)
        assert (tower.encode_tokens(text)[0] - before).abs().max() > 1e-3

    @torch.no_grad()
    def test_without_causality_tokens_see_it(self, tower, text):
        tower = tower(no_causal_mask=True)
        _, tokens = tower.encode_tokens(text)
        tower.cls_emb += torch.randn(24)  # a number for all would be normed away
        assert (tower.encode_tokens(text)[1] - tokens)[:, 0].abs().max() > 1e-3

    def test_it_is_locked_with_the_embeddings(self, tower):
        tower = tower()
        tower.lock(3)
        assert not tower.cls_emb.requires_grad
        tower.lock(4)
        assert tower.cls_emb.requires_grad


class TestAttentionalPooling:
    @pytest.fixture
    def tower(self):
        def make(embed_dim=16, **keys):
            config = VisionConfig(
                image_size=16, patch_size=8, width=24, head_width=8, layers=1, attn_pooler_heads=4,
                attn_pooler_queries=6, output_tokens=True, **keys,
            )  # fmt: skip
            return shaken(VisionTransformer(config, embed_dim, quick_gelu=False))

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
    def test_a_pooler_of_its_own_for_the_feature(self, tower, kind, source):
        tower = tower(24, attentional_pool=kind)
        image = torch.randn(2, 3, 16, 16)
        normed = tower.ln_post(tower.transformer(tower.embed(image)))
        found = tower.attn_pool(normed)
        feature, tokens = tower(image)
        torch.testing.assert_close(tokens, found)
        torch.testing.assert_close(feature, tower.attn_pool_contrastive((normed, found)[source])[:, 0] @ tower.proj)

    def test_such_poolers_need_one_width(self, tower):
        with pytest.raises(
            BuildError, match=r"attentional_pool='cascade' needs.*width=24 and embed_dim=16.*Nothing was"
        ):
            tower(attentional_pool="cascade")

    def test_poolers_are_locked_with_the_last_block(self, tower):
        tower = tower(attentional_pool=True)
        tower.lock(1)
        assert [name for name, p in tower.named_parameters() if p.requires_grad] == ["proj"]
        tower.lock(2)
        assert tower.attn_pool.query.requires_grad
        assert not tower.conv1.weight.requires_grad
