"""Logits of growing texts, compared with those of the whole model."""

from __future__ import annotations

import pytest
import torch
from registry_plugins.coca.next_token import NextToken


@pytest.mark.parametrize("text_cfg", [{}, {"embed_cls": False}, {"no_causal_mask": True}])
@torch.no_grad()
def test_growing_texts_give_the_logits_of_whole_ones(coca, image, text, text_cfg):
    model = coca(text_cfg=text_cfg)
    latent, embs = model.image_outputs(image)
    next_token = NextToken(model.text_decoder, model.text, embs, 12)
    ids = text  # some of it is padding, which hides the position after it
    for length in (2, 3, 4, 5, 6, 9, 12):
        whole = model(None, ids[:, :length], latent, embs, output_labels=False)["logits"][:, -1]
        torch.testing.assert_close(next_token.logits(ids[:, :length]), whole, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_beyond_the_window_the_last_tokens_count(coca, image):
    model = coca()
    latent, embs = model.image_outputs(image)
    next_token = NextToken(model.text_decoder, model.text, embs, 5)
    ids = torch.randint(1, 38, (3, 9), generator=torch.Generator().manual_seed(3))
    for length in range(1, 10):
        window = ids[:, :length][:, -5:]
        whole = model(None, window, latent, embs, output_labels=False)["logits"][:, -1]
        torch.testing.assert_close(next_token.logits(ids[:, :length]), whole, atol=2e-5, rtol=1e-4)
