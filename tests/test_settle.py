"""Who decides what: the caller, then what the tag states, then the config."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from registry_core import OverrideError, Registry, Url, Weights, hookimpl
from registry_core.settle import FLAT_OVERRIDES


def table(name):
    text = files("registry_plugins.openai_clip").joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


MODELS = {row["name"]: row for row in table("models.jsonl")}
TAGS = table("pretrained.jsonl")
DISAGREEING = [
    (row["model"], row["tag"], row["quick_gelu"])
    for row in TAGS
    if "quick_gelu" in row and row["quick_gelu"] != MODELS[row["model"]].get("quick_gelu", False)
]
SILENT = [(row["model"], row["tag"]) for row in TAGS if "quick_gelu" not in row]


@pytest.fixture(scope="module")
def installed():
    return Registry()


@pytest.fixture
def stating(registry):
    """stating({...}) gives `tiny` a tag "t" that states these keys."""

    def stating(**stated):
        class Tags:
            @hookimpl
            def resolve_pretrained(self, name, tag):
                if (name, tag) != ("tiny", "t"):
                    return None
                return Weights((Url("https://example.invalid/t.pt"),), tag, stated)

        registry.register(Tags())
        return registry

    return stating


def settled(explanation):
    return [str(setting) for setting in explanation.settled]


class TestQuickGelu:
    def test_the_published_tables_hold_the_known_disagreements(self):
        assert len(DISAGREEING) == 27
        assert ("ViT-B-32", "openai", True) in DISAGREEING
        assert SILENT, "there are tags that say nothing"

    @pytest.mark.parametrize(("model", "tag", "stated"), DISAGREEING)
    @pytest.mark.parametrize("prefix", ["", "daclip_"])
    def test_a_stated_value_wins_over_the_config(self, installed, prefix, model, tag, stated):
        name = prefix + model
        if name not in installed.list_models(name):
            assert model.startswith("RN"), "only ModifiedResNets have no DA-CLIP"
            return
        explanation = installed.explain(name, tag)
        assert installed.config(name).quick_gelu is not stated
        assert explanation.config.quick_gelu is stated
        assert f"quick_gelu = {stated} (by tag {tag!r})" in settled(explanation)

    @pytest.mark.parametrize(("model", "tag"), SILENT)
    def test_a_tag_that_says_nothing_says_nothing(self, installed, model, tag):
        explanation = installed.explain(model, tag)
        assert explanation.config.quick_gelu is installed.config(model).quick_gelu
        assert not [line for line in settled(explanation) if "quick_gelu" in line]

    def test_the_caller_wins_over_the_tag(self, installed):
        explanation = installed.explain("ViT-B-32", "openai", quick_gelu=False)
        assert explanation.config.quick_gelu is False
        assert settled(explanation) == ["quick_gelu = False (by the caller)"]

    def test_a_tag_that_agrees_with_the_config_settles_nothing(self, installed):
        assert settled(installed.explain("ViT-B-32-quickgelu", "openai")) == []


class TestThreeVoices:
    def test_each_key_goes_by_its_own_highest_voice(self, stating):
        registry = stating(quick_gelu=True, preprocess_cfg={"resize_mode": "squash", "interpolation": "bilinear"})
        explanation = registry.explain("tiny", "t", preprocess_cfg={"resize_mode": "longest"}, image_size=32)
        config = explanation.config
        assert config.quick_gelu is True
        assert config.preprocess_cfg.resize_mode == "longest"
        assert config.preprocess_cfg.interpolation == "bilinear"
        assert config.text_cfg == registry.config("tiny").text_cfg
        assert sorted(settled(explanation)) == [
            "preprocess_cfg.interpolation = bilinear (by tag 't')",
            "preprocess_cfg.resize_mode = longest (by the caller)",
            "quick_gelu = True (by tag 't')",
            "vision_cfg.image_size = 32 (by the caller)",
        ]

    def test_the_report_says_the_same_as_explain(self, registry):
        model = registry.create("tiny", False, quick_gelu=True, vision_cfg={"image_size": 32})
        assert [str(setting) for setting in registry.report(model).settled] == [
            "quick_gelu = True (by the caller)",
            "vision_cfg.image_size = 32 (by the caller)",
        ]
        assert "quick_gelu = True (by the caller)" in str(registry.report(model))

    def test_a_none_of_the_caller_is_a_word_too(self, registry):
        registry.add_config({**registry.config("tiny").raw(), "init_logit_bias": -10.0}, "biased")
        explanation = registry.explain("biased", init_logit_bias=None)
        assert explanation.config.init_logit_bias is None
        assert settled(explanation) == ["init_logit_bias = None (by the caller)"]

    def test_a_recorded_picture_size_follows_the_callers(self, registry):
        registry.add_config({**registry.config("tiny").raw(), "preprocess_cfg": {"size": [64, 64]}}, "sized")
        explanation = registry.explain("sized", image_size=32)
        assert explanation.config.image_size == (32, 32)
        assert settled(explanation) == ["vision_cfg.image_size = 32 (by the caller)"]


FLAT_VALUES = {
    "image_size": 128,
    "patch_dropout": 0.5,
    "context_length": 33,
    "quick_gelu": True,
    "init_logit_scale": 1.25,
    "init_logit_bias": -10.0,
    "nonscalar_logit_scale": True,
}


class TestFlatOverrides:
    def test_are_a_fixed_list(self):
        # custom_text changes whose the config is: it is tested with the plugin that takes it over.
        assert set(FLAT_OVERRIDES) == {*FLAT_VALUES, "custom_text"}

    def test_custom_text_is_none_of_a_daclip(self, registry):
        with pytest.raises(OverrideError, match="An override does not fit the model's config"):
            registry.create("daclip_tiny", False, custom_text=True)

    @pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
    @pytest.mark.parametrize(("key", "value"), FLAT_VALUES.items())
    def test_reach_their_place_in_the_config(self, registry, name, key, value):
        found = registry.explain(name, **{key: value}).config
        for part in FLAT_OVERRIDES[key]:
            found = getattr(found, part)
        assert found == value

    def test_do_not_touch_the_registered_config(self, registry):
        registry.create("tiny", False, image_size=32)
        assert registry.config("tiny").image_size == (64, 64)

    def test_meet_nested_ones_in_one_mapping(self, registry):
        config = registry.explain("tiny", image_size=32, vision_cfg={"layers": 1}).config
        assert (config.vision_cfg.image_size, config.vision_cfg.layers, config.vision_cfg.width) == (32, 1, 64)


class TestRefusals:
    @pytest.mark.parametrize(
        ("overrides", "words"),
        [
            ({"image_sise": 3}, r"no argument 'image_sise'\. Did you mean image_size.*Nothing was built"),
            ({"width": 3}, r"no argument 'width'.*goes into vision_cfg=\{\.\.\.\} or text_cfg"),
            ({"embed_dim": 3}, "no argument 'embed_dim'"),
            ({"vision_cfg": 3}, r"vision_cfg=3: expected a mapping"),
            ({"image_size": "big"}, r"(?s)An override does not fit.*vision_cfg\.image_size: .*got 'big'"),
            ({"quick_gelu": 1}, r"(?s)An override does not fit.*quick_gelu: .*boolean, got 1"),
            ({"quick_gelu": None}, r"(?s)An override does not fit.*quick_gelu: .*boolean, got None"),
            ({"vision_cfg": {"widht": 3}}, r"(?s)An override does not fit.*vision_cfg\.widht: unknown key.*width"),
            (
                {"preprocess_cfg": {"mean": [0.5]}},
                r"(?s)An override does not fit.*preprocess_cfg\.mean: too few values, got \(0\.5,\)",
            ),
        ],
    )
    @pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
    def test_say_what_and_what_to_do(self, registry, name, overrides, words):
        with pytest.raises(OverrideError, match=words):
            registry.create(name, False, **overrides)
