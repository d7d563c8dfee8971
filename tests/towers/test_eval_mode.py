from __future__ import annotations

import pytest
from torch import nn

from registry_core.towers.eval_mode import evaluating


def modes(model):
    return [module.training for module in model.modules()]


@pytest.fixture
def model():
    """In training mode, except for one part."""
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout())).train()
    model[1].eval()
    assert modes(model) == [True, True, False, False]
    return model


def test_each_module_gets_its_mode_back(model):
    with evaluating(model):
        assert not any(modes(model))
    assert modes(model) == [True, True, False, False]


def test_each_module_gets_its_mode_back_after_an_error(model):
    with pytest.raises(ZeroDivisionError), evaluating(model):
        _ = 1 / 0
    assert modes(model) == [True, True, False, False]
