"""Patch dropout, in a ViT."""

from __future__ import annotations

import torch


def test_evaluation_mode_drops_nothing(vit, image):
    with torch.no_grad():
        torch.testing.assert_close(vit(patch_dropout=0.5)(image), vit()(image), atol=0, rtol=0)


def test_training_keeps_the_class_token_and_a_share_of_the_patches(vit, image):
    tower = vit(patch_dropout=0.75, no_ln_pre=True).train()
    with torch.no_grad():
        kept = tower.embed(image)
        everything = tower.eval().embed(image)
    assert kept.shape == (3, 1 + 4, 32)
    torch.testing.assert_close(kept[:, 0], everything[:, 0], atol=0, rtol=0)
    for row in range(3):
        positions = [(everything[row, 1:] == token).all(dim=-1).nonzero().flatten().tolist() for token in kept[row, 1:]]
        assert all(len(position) == 1 for position in positions)
        assert len({position[0] for position in positions}) == 4  # no patch twice


def test_images_and_calls_drop_different_patches(vit, image):
    tower = vit(patch_dropout=0.5, no_ln_pre=True).train()
    torch.manual_seed(0)
    with torch.no_grad():
        same = image[:1].expand(3, -1, -1, -1)
        first, second = tower.embed(same), tower.embed(same)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_at_least_one_patch_is_kept(vit, image):
    tower = vit(patch_dropout=0.999).train()
    with torch.no_grad():
        assert tower.embed(image).shape == (3, 2, 32)
