"""Which configs are a CoCa's, and what is wrong with others."""

from __future__ import annotations

import pytest

from registry_core import ConfigError, OverrideError
from registry_core.towers.multimodal_transformer import MultimodalTransformer

NAMES = ["coca_ViT-B-32", "coca_ViT-L-14", "coca_base", "coca_roberta-ViT-B-32"]


def test_the_published_models_and_tags_are_listed(registry):
    assert sorted(registry.list_models("coca_*")) == sorted(NAMES)
    tags = ["laion2b_s13b_b90k", "mscoco_finetuned_laion2b_s13b_b90k"]
    for name in NAMES[:2]:
        assert [tag for _, tag in registry.list_pretrained(name)] == tags
    assert not any(registry.list_pretrained(name) for name in NAMES[2:])


@pytest.mark.parametrize(
    ("name", "millions"), [("coca_ViT-B-32", 253.6), ("coca_ViT-L-14", 638.5), ("coca_base", 440.3)]
)
def test_the_published_models_are_built_as_shells(registry, name, millions):
    model = registry.create(name, device="meta")
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions
    assert isinstance(model.text_decoder, MultimodalTransformer)


def test_a_transformers_text_tower_is_built_as_a_shell(registry):
    pytest.importorskip("transformers")
    model = registry.create("coca_roberta-ViT-B-32", device="meta")
    assert model.text_decoder.text_projection.shape == (768, 49408)


def test_a_raw_config_with_a_decoder_is_a_coca(registry, config):
    del config["custom_text"]
    registry.add_config(config, "x")
    assert registry.config("x").architecture == "coca"


def test_its_architecture_claims_it_back(registry, config):
    registry.add_config(config, "x")
    raw = registry.config("x").raw()
    registry.add_config(raw, "y")
    assert registry.config("y") == registry.config("x")


def test_the_decoder_can_be_overridden(registry, config):
    registry.add_config(config, "x")
    model = registry.create("x", False, multimodal_cfg={"layers": 1})
    assert model.text_decoder.layers == 1
    with pytest.raises(OverrideError, match=r"multimodal_cfg\.layer: unknown key\. Did you mean layers"):
        registry.create("x", False, multimodal_cfg={"layer": 1})


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("vision_cfg", {"output_tokens": False}, r"vision_cfg\.output_tokens: expected true"),
        ("text_cfg", {"output_tokens": False}, r"text_cfg\.output_tokens: expected true"),
        ("text_cfg", {"width": 32}, r"multimodal_cfg\.width: 24, expected text_cfg\.width's 32"),
        ("vision_cfg", {"attentional_pool": False}, r"multimodal_cfg\.width: 24, expected vision_cfg\.width's 32"),
        (
            "vision_cfg",
            {"layers": [1, 1, 1, 1], "patch_size": None},
            r"vision_cfg\.layers: expected a number, for a ViT",
        ),
        ("multimodal_cfg", {"width": 20}, r"multimodal_cfg\.width: 20, expected embed_dim's 24"),
    ],
)
def test_parts_that_do_not_fit_are_named(registry, config, part, changes, words):
    config[part].update(changes)
    with pytest.raises(
        ConfigError, match=rf"config of .* is none of a CoCa:\n(.*\n)*.*{words}(.*\n)*.*Nothing was built"
    ):
        registry.add_config(config, "x")


def test_a_key_that_the_decoder_has_not_is_refused(registry, config):
    config["multimodal_cfg"]["vocabsize"] = 3
    with pytest.raises(ConfigError, match=r"multimodal_cfg\.vocabsize: unknown key\. Did you mean vocab_size"):
        registry.add_config(config, "x")
