"""What makes a AcmeSecond one."""

from __future__ import annotations

import pytest
import torch

from registry_core import Registry


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def pictures():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(registry):
    torch.manual_seed(0)
    return registry.create("acme_second_tiny", pretrained=False)


def test_starts_as_the_image_tower_alone(model, pictures):
    assert torch.equal(model.encode_image(pictures), model.visual(pictures))


def test_the_adapter_changes_the_features_once_it_is_trained(model, pictures):
    torch.nn.init.normal_(model.adapter[2].weight)
    assert not torch.allclose(model.encode_image(pictures), model.visual(pictures))


def test_loads_a_plain_clip(registry, model, pictures, tmp_path):
    plain = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("adapter.")}
    torch.save(plain, tmp_path / "clip.pt")
    loaded = registry.create("acme_second_tiny", tmp_path / "clip.pt")
    assert registry.report(loaded).left_to_owner == ["adapter"]
    assert torch.equal(loaded.encode_image(pictures), model.encode_image(pictures))


def test_its_aspects_are_classified(registry, model):
    from PIL import Image

    classifier = registry.classifier(model, ["cat", "dog"])
    (result,) = classifier(Image.new("RGB", (40, 30)))
    assert set(result.best) == {"content", "mood"}
    assert registry.loss(model).__class__.__name__ == "ClipLoss"
    assert registry.services.public_class("AcmeSecond") is type(model)
