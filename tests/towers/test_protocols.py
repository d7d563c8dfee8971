"""Every tower has the attributes and methods that the protocols promise."""

from __future__ import annotations

import inspect

import pytest

from registry_core.towers.hf_text import HFTextTower
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.protocols import ImageTower, TextTower, TrainableModel
from registry_core.towers.text_transformer import TextTransformer
from registry_core.towers.timm_tower import TimmTower
from registry_core.towers.vision_transformer import VisionTransformer


def promised(protocol):
    """Name -> parameter names of each method that a protocol and its bases define."""
    methods = {}
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False):
            for name, member in vars(base).items():
                if inspect.isfunction(member) and (name == "__call__" or not name.startswith("_")):
                    methods.setdefault(name, list(inspect.signature(member).parameters))
    return methods


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        (VisionTransformer, ImageTower),
        (ModifiedResNet, ImageTower),
        (TimmTower, ImageTower),
        (TextTransformer, TextTower),
        (HFTextTower, TextTower),
    ],
)
def test_the_methods_of_a_tower(kind, protocol):
    for name, parameters in promised(protocol).items():
        method = kind.forward if name == "__call__" else getattr(kind, name)
        assert set(parameters) <= set(inspect.signature(method).parameters), name


@pytest.mark.parametrize("name", ["tiny", "tiny-rn", "daclip_tiny"])
def test_the_methods_of_a_model(registry, name):
    model = registry.create(name, device="meta")
    for method, parameters in promised(TrainableModel).items():
        assert set(parameters) <= {"self", *inspect.signature(getattr(model, method)).parameters}, method
    assert model.visual.image_size == (64, 64)
    assert model.logit_scale.numel() == 1
