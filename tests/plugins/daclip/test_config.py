"""Which configs are those of a DA-CLIP, and the meaning of the original's routing flag."""

from __future__ import annotations

import pytest
import torch
from registry_plugins.daclip import plugin as daclip
from registry_plugins.openai_clip import plugin as openai_clip

from registry_core import ConfigError, Registry, UnknownModelError


@pytest.fixture
def two():
    """A registry of DA-CLIP and plain CLIP, without another architecture that the flag could mean."""
    registry = Registry(plugins=[])
    registry.register(openai_clip, "openai_clip")
    registry.register(daclip, "daclip")
    return registry


def test_the_originals_flag_is_not_plain_clip(two, golden_meta):
    """`custom_text: true` in a raw config without `architecture` means another architecture."""
    raw = golden_meta["config"]
    assert raw["custom_text"] is True
    with pytest.raises(ConfigError) as caught:
        two.add_config(raw, "routed")
    assert (caught.value.name, caught.value.expected) == ("(mapping)", ["openai_clip", "daclip"])


def test_the_config_without_the_flag_is_plain_clip(two, golden_meta):
    raw = {key: value for key, value in golden_meta["config"].items() if key != "custom_text"}
    two.add_config(raw, "plain")
    assert two.config("plain").architecture == "openai_clip"
    assert two.config("daclip_plain").architecture == "daclip"


def test_the_raw_config_has_the_same_owner(registry, two):
    config = registry.config("daclip_tiny")
    raw = config.raw()
    assert raw["architecture"] == "daclip"
    assert raw["base_architecture"] == "openai_clip"
    two.add_config(raw, "again")
    assert two.config("again") == config


def test_an_override_reaches_the_base_and_both_towers(registry, golden):
    model = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", image_size=96, context_length=16)
    assert model.visual.positional_embedding.shape == (37, 64)
    assert model.visual_control.positional_embedding.shape == (37, 64)
    assert model.clip.positional_embedding.shape == (16, 64)
    with torch.no_grad():
        features, degradation = model.encode_image(torch.zeros(1, 3, 96, 96), control=True)
    assert features.isfinite().all()
    assert degradation.isfinite().all()


def test_quick_gelu_reaches_the_control_tower(registry, golden, image):
    plain = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")
    quick = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", quick_gelu=True)
    with torch.no_grad():
        for mine, other in zip(
            quick.encode_image(image, control=True), plain.encode_image(image, control=True), strict=True
        ):
            assert (mine - other).abs().max() > 1e-4
    assert sum(type(module).__name__ == "QuickGELU" for module in quick.modules()) == 3 + 3 + 2


def test_a_daclip_over_an_unknown_base_is_unknown(registry):
    with pytest.raises(UnknownModelError) as caught:
        registry.create("daclip_nothing", False)
    assert caught.value.name == "daclip_nothing"
