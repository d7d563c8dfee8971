"""Which configs are those of a CoCa, and the problems of others."""

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
    with pytest.raises(OverrideError) as caught:
        registry.create("x", False, multimodal_cfg={"layer": 1})
    assert (list(caught.value.problems), caught.value.suggestions) == (["multimodal_cfg.layer"], ["layers"])


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        ("vision_cfg", {"output_tokens": False}, ("vision_cfg.output_tokens", "expected true, for the decoder")),
        ("text_cfg", {"output_tokens": False}, ("text_cfg.output_tokens", "expected true, for the decoder")),
        ("text_cfg", {"width": 32}, ("multimodal_cfg.width", "24, expected text_cfg.width's 32")),
        ("vision_cfg", {"attentional_pool": False}, ("multimodal_cfg.width", "24, expected vision_cfg.width's 32")),
        ("vision_cfg", {"layers": [1] * 4, "patch_size": None}, ("vision_cfg.layers", "expected a number, for a ViT")),
        ("multimodal_cfg", {"width": 20}, ("multimodal_cfg.width", "20, expected embed_dim's 24")),
    ],
)
def test_parts_that_do_not_fit_are_named(registry, config, part, changes, named):
    config[part].update(changes)
    with pytest.raises(ConfigError) as caught:
        registry.add_config(config, "x")
    key, problem = named
    assert problem in caught.value.problems[key]


def test_the_message_names_each_key_and_its_problem(registry, config):
    config["vision_cfg"]["output_tokens"] = config["text_cfg"]["output_tokens"] = False
    message = (
        r"The config of .* does not describe a CoCa:\n  vision_cfg\.output_tokens: expected true, for the decoder\n"
        r"  text_cfg\.output_tokens: expected true, for the decoder\nNothing was built\. Correct the keys"
    )
    with pytest.raises(ConfigError, match=message):
        registry.add_config(config, "x")


def test_a_key_that_the_decoder_lacks_is_refused(registry, config):
    config["multimodal_cfg"]["vocabsize"] = 3
    with pytest.raises(ConfigError) as caught:
        registry.add_config(config, "x")
    assert (list(caught.value.problems), caught.value.suggestions) == (["multimodal_cfg.vocabsize"], ["vocab_size"])
