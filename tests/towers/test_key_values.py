"""The key-value cache, and the mask of the tokens that extend it."""

from __future__ import annotations

import torch

from registry_core.towers.key_values import KeyValues, Prefix, causal_mask


def test_keys_and_values_are_appended_and_reordered():
    cache = KeyValues()
    first, second = torch.randn(2, 3, 1, 4, 5), torch.randn(2, 3, 1, 2, 5)  # keys and values of three texts
    cache.extend(*first)
    cache.take(torch.tensor([2, 2, 0]))
    key, value = cache.extend(*second)
    assert torch.equal(key, torch.cat([first[0][[2, 2, 0]], second[0]], dim=2))
    assert torch.equal(value, torch.cat([first[1][[2, 2, 0]], second[1]], dim=2))


def test_an_empty_prefix_can_be_reordered():
    prefix = Prefix(2)
    prefix.take(torch.tensor([1, 0]))
    assert (len(prefix.layers), prefix.length, prefix.visible) == (2, 0, None)


def test_the_visible_positions_are_reordered_with_the_texts():
    prefix = Prefix(1)
    prefix.visible = torch.tensor([[True, False], [True, True]])
    prefix.take(torch.tensor([1, 0]))
    assert prefix.visible.tolist() == [[True, True], [True, False]]


def test_the_causal_mask_of_further_tokens():
    assert causal_mask(2, 4, torch.device("cpu")).tolist() == [[True, True, True, False], [True, True, True, True]]
