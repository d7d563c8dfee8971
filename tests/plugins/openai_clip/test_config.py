"""Names and raw configs that belong to CLIP, and those that do not."""

from __future__ import annotations

import pytest
from registry_plugins.openai_clip import plugin

from registry_core import ConfigError, Registry, UnknownModelError


@pytest.fixture
def alone():
    """A registry of this plugin alone, so that no other plugin claims a config."""
    registry = Registry(plugins=[])
    registry.register(plugin, "openai_clip")
    return registry


@pytest.mark.parametrize(("old", "new"), [("ViT-B/32", "ViT-B-32"), ("ViT-L/14@336px", None)])
def test_the_old_spelling_with_a_slash(registry, old, new):
    if new is None:
        with pytest.raises(UnknownModelError) as caught:
            registry.config(old)
        assert caught.value.suggestions[0].startswith("ViT-L-14-336")
    else:
        assert registry.config(old) == registry.config(new)
        model = registry.create(old, device="meta")
        assert registry.report(model).name == new
        assert registry.list_pretrained(old) == registry.list_pretrained(new) != []


@pytest.mark.parametrize("tag", ["openai", "laion2b_s34b_b79k"])
def test_the_old_spelling_finds_the_same_weights(registry, tag):
    assert str(registry.explain("ViT-B/32", tag)) == str(registry.explain("ViT-B-32", tag))


@pytest.mark.parametrize(
    ("more", "claimed"),
    [
        ({}, True),
        ({"custom_text": False}, True),
        ({"architecture": "openai_clip"}, True),
        ({"custom_text": True}, False),
        ({"multimodal_cfg": {"width": 64}}, False),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, False),
    ],
)
def test_which_raw_configs_are_its_own(alone, golden_meta, more, claimed):
    raw = {key: value for key, value in golden_meta["config"].items() if key != "custom_text"}
    if claimed:
        alone.add_config({**raw, **more}, "mine")
        assert alone.config("mine").architecture == "openai_clip"
    else:
        with pytest.raises(ConfigError) as caught:
            alone.add_config({**raw, **more}, "mine")
        assert caught.value.expected == ["openai_clip"]


def test_its_architecture_with_another_architectures_flag_is_refused(alone, golden_meta):
    raw = {**golden_meta["config"], "architecture": "openai_clip"}
    with pytest.raises(ConfigError) as caught:
        alone.add_config(raw, "torn")
    assert list(caught.value.problems) == ["custom_text"]
    assert "True" in caught.value.problems["custom_text"]
