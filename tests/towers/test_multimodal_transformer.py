"""The decoder of CoCa."""

from __future__ import annotations

import pytest
import torch

from registry_core.config.model import ActivationOptions, NormOptions
from registry_core.towers.key_values import Prefix
from registry_core.towers.layers import BlockOptions
from registry_core.towers.multimodal_transformer import MultimodalTransformer


@pytest.fixture
def decoder(shake):
    options = BlockOptions(24, 4, 2.0, None, False, NormOptions(), ActivationOptions())
    return shake(lambda: MultimodalTransformer(options, 2, 30))


@pytest.fixture
def images():
    return torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def texts():
    return torch.randn(6, 7, 24, generator=torch.Generator().manual_seed(2))


class TestDecoder:
    @torch.no_grad()
    def test_it_is_causal_and_sees_its_image(self, decoder, images, texts):
        before = decoder(images, texts[:2])
        later, other = texts[:2].clone(), images.clone()
        later[:, 4:] += 1
        other[1] += torch.randn(5, 24)
        torch.testing.assert_close(decoder(images, later)[:, :4], before[:, :4])
        torch.testing.assert_close(decoder(other, texts[:2])[0], before[0])
        assert (decoder(other, texts[:2])[1] - before[1]).abs().max() > 1e-3

    @pytest.mark.parametrize("pieces", [[7], [1] * 7, [3, 1, 3], [2, 5]])
    @torch.no_grad()
    def test_texts_that_grow_in_pieces(self, decoder, images, texts, pieces):
        """Three texts share the keys and values of an image."""
        whole = decoder(images.repeat_interleave(3, dim=0), texts)
        keys, prefix, length = decoder.image_keys(images), Prefix(2), 0
        for piece in pieces:
            found = decoder.extend(texts[:, length : length + piece], keys, prefix)
            length += piece
            torch.testing.assert_close(found, whole[:, length - 1], atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_texts_can_be_reordered_between_steps(self, decoder, images, texts):
        rows = torch.tensor([1, 1, 0, 5, 3, 3])
        keys, prefix = decoder.image_keys(images), Prefix(2)
        decoder.extend(texts[:, :4], keys, prefix)
        prefix.take(rows)
        found = decoder.extend(texts[rows][:, 4:], keys, prefix)
        expected = decoder(images.repeat_interleave(3, dim=0), texts[rows])[:, -1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
