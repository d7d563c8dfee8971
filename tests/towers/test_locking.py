"""Groups of parameters that stay trainable, for native towers and by the helpers that plugins call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from registry_core import InputError
from registry_core.towers.locking import check_norms, lock_groups, number_of_groups


@pytest.fixture
def layers():
    return [nn.Linear(2, 2) for _ in range(3)]


def trainable(layers):
    return [layer.weight.requires_grad for layer in layers]


@pytest.mark.parametrize(
    ("unlocked", "expected"),
    [(0, [False] * 3), (1, [False, False, True]), (np.int64(2), [False, True, True]), (9, [True] * 3)],
)
def test_the_last_groups_are_trainable(layers, unlocked, expected):
    lock_groups([[layer] for layer in layers], unlocked)
    assert trainable(layers) == expected


def test_a_group_may_have_modules_and_parameters(layers):
    first, second, third = layers
    lock_groups([[first, second.weight], [third]], 1)
    assert trainable(layers) == [False, False, True]
    assert second.bias.requires_grad


@pytest.mark.parametrize("unlocked", [2, np.int32(2), torch.tensor(2)])
def test_whole_numbers_of_other_libraries_become_ints(unlocked):
    assert type(number_of_groups(unlocked)) is int
    assert number_of_groups(unlocked) == 2


@pytest.mark.parametrize("unlocked", [-1, 1.5, None, True, "1"])
def test_anything_else_is_refused(layers, unlocked):
    with pytest.raises(InputError) as caught:
        lock_groups([[layer] for layer in layers], unlocked, "unlocked_layers")
    assert (caught.value.argument, caught.value.found) == ("unlocked_layers", unlocked)
    assert all(trainable(layers))


def test_the_message_about_a_number_of_groups():
    expected = r"^unlocked_groups=-1: expected the number of trainable groups, a whole number from 0 on.*was frozen\.$"
    with pytest.raises(InputError, match=expected):
        number_of_groups(-1)


@pytest.mark.parametrize("unlocked", [-1, 1.5, None])
def test_models_name_the_argument_and_stay_trainable(registry, unlocked):
    model = registry.create("tiny", False)
    for lock, argument in ((model.lock_text_tower, "unlocked_layers"), (model.lock_image_tower, "unlocked_groups")):
        with pytest.raises(InputError) as caught:
            lock(unlocked)
        assert (caught.value.argument, caught.value.found) == (argument, unlocked)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_norms_of_native_text_towers_are_frozen_with_their_blocks(registry):
    models = [registry.create("tiny", False), registry.create("tiny", False, custom_text=True)]
    for model in models:
        with pytest.raises(InputError) as caught:
            model.lock_text_tower(1, freeze_layer_norm=False)
        assert (caught.value.argument, caught.value.expected) == ("freeze_layer_norm", True)
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_message_about_norms():
    expected = (
        r"^freeze_layer_norm=False: a native text tower freezes its norms .* Nothing was frozen\. Leave the argument"
    )
    with pytest.raises(InputError, match=expected):
        check_norms(freeze_layer_norm=False)
