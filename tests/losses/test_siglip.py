"""SigLipLoss: its options."""

from __future__ import annotations

import pytest
import torch
from loss_cases import features

from registry_core import InputError
from registry_core.losses.siglip import SigLipLoss


def test_a_missing_bias_is_zero():
    images, texts, scale, _ = features("siglip").values()
    assert torch.equal(SigLipLoss()(images, texts, scale), SigLipLoss()(images, texts, scale, torch.tensor(0.0)))


def test_an_unknown_exchange_is_refused():
    with pytest.raises(InputError) as caught:
        SigLipLoss(dist_impl="gathr")
    assert (caught.value.argument, caught.value.found) == ("dist_impl", "gathr")
    assert caught.value.suggestions == ["gather"]


def test_the_default_exchange_is_the_first():
    assert SigLipLoss().dist_impl == SigLipLoss(dist_impl=None).dist_impl == "bidir"
