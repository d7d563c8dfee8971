"""Overrides: the caller wins over the tag, and the tag over the config."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from registry_core import OverrideError, Registry, Url, Weights, hookimpl
from registry_core.config.overrides import FLAT_OVERRIDES


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
UNSTATED = [(row["model"], row["tag"]) for row in TAGS if "quick_gelu" not in row]


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
    def test_the_published_tables_contain_the_known_disagreements(self):
        assert len(DISAGREEING) == 27
        assert ("ViT-B-32", "openai", True) in DISAGREEING
        assert UNSTATED, "some tags do not state quick_gelu"

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

    @pytest.mark.parametrize(("model", "tag"), UNSTATED)
    def test_a_tag_that_does_not_state_it_leaves_the_config(self, installed, model, tag):
        explanation = installed.explain(model, tag)
        assert explanation.config.quick_gelu is installed.config(model).quick_gelu
        assert not [line for line in settled(explanation) if "quick_gelu" in line]

    def test_the_caller_wins_over_the_tag(self, installed):
        explanation = installed.explain("ViT-B-32", "openai", quick_gelu=False)
        assert explanation.config.quick_gelu is False
        assert settled(explanation) == ["quick_gelu = False (by the caller)"]

    def test_a_tag_that_agrees_with_the_config_is_not_an_override(self, installed):
        assert settled(installed.explain("ViT-B-32-quickgelu", "openai")) == []


class TestPrecedence:
    def test_holds_for_each_key_by_itself(self, stating):
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

    def test_the_report_lists_the_overrides_as_explain_does(self, registry):
        model = registry.create("tiny", False, quick_gelu=True, vision_cfg={"image_size": 32})
        assert [str(setting) for setting in registry.report(model).settled] == [
            "quick_gelu = True (by the caller)",
            "vision_cfg.image_size = 32 (by the caller)",
        ]
        assert "quick_gelu = True (by the caller)" in str(registry.report(model))

    def test_none_is_an_override_too(self, registry):
        registry.add_config({**registry.config("tiny").raw(), "init_logit_bias": -10.0}, "biased")
        explanation = registry.explain("biased", init_logit_bias=None)
        assert explanation.config.init_logit_bias is None
        assert settled(explanation) == ["init_logit_bias = None (by the caller)"]

    def test_a_recorded_image_size_follows_the_callers(self, registry):
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
        # custom_text changes the owner of the config. It is tested with the plugin that then owns it.
        assert set(FLAT_OVERRIDES) == {*FLAT_VALUES, "custom_text"}

    def test_custom_text_is_refused_for_a_daclip(self, registry):
        with pytest.raises(OverrideError):
            registry.create("daclip_tiny", False, custom_text=True)

    @pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
    @pytest.mark.parametrize(("key", "value"), FLAT_VALUES.items())
    def test_set_their_key_in_the_config(self, registry, name, key, value):
        found = registry.explain(name, **{key: value}).config
        for part in FLAT_OVERRIDES[key]:
            found = getattr(found, part)
        assert found == value

    def test_do_not_change_the_registered_config(self, registry):
        registry.create("tiny", False, image_size=32)
        assert registry.config("tiny").image_size == (64, 64)

    def test_are_merged_with_nested_ones(self, registry):
        config = registry.explain("tiny", image_size=32, vision_cfg={"layers": 1}).config
        assert (config.vision_cfg.image_size, config.vision_cfg.layers, config.vision_cfg.width) == (32, 1, 64)


@pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
class TestRefusals:
    @pytest.mark.parametrize(
        ("argument", "value", "suggestion"),
        [("image_sise", 3, "image_size"), ("width", 3, None), ("embed_dim", 3, None)],
    )
    def test_of_an_unknown_argument(self, registry, name, argument, value, suggestion):
        with pytest.raises(OverrideError) as caught:
            registry.create(name, False, **{argument: value})
        assert caught.value.argument == argument
        assert "image_size" in caught.value.expected
        assert suggestion is None or caught.value.suggestions[0] == suggestion

    def test_of_a_value_that_is_not_a_mapping(self, registry, name):
        with pytest.raises(OverrideError, match=r"^vision_cfg=3: expected a mapping") as caught:
            registry.create(name, False, vision_cfg=3)
        assert (caught.value.argument, caught.value.found) == ("vision_cfg", 3)

    @pytest.mark.parametrize(
        ("override", "key", "problem"),
        [
            ({"image_size": "big"}, "vision_cfg.image_size", ".*got 'big'"),
            ({"quick_gelu": 1}, "quick_gelu", ".*boolean, got 1"),
            ({"quick_gelu": None}, "quick_gelu", ".*boolean, got None"),
            ({"vision_cfg": {"widht": 3}}, "vision_cfg.widht", "unknown key.*width"),
            ({"preprocess_cfg": {"mean": [0.5]}}, "preprocess_cfg.mean", r"too few values, got \(0\.5,\)"),
        ],
    )
    def test_of_a_value_that_does_not_fit_name_the_argument_and_the_key(self, registry, name, override, key, problem):
        with pytest.raises(OverrideError) as caught:
            registry.create(name, False, **override)
        assert caught.value.argument in override
        assert list(caught.value.problems) == [key]
        assert re.match(problem, caught.value.problems[key])

    def test_keep_the_suggestions_of_the_config_error(self, registry, name):
        with pytest.raises(OverrideError) as caught:
            registry.create(name, False, quick_gelu=True, vision_cfg={"widht": 3})
        assert caught.value.argument == "vision_cfg"
        assert caught.value.suggestions[0] == "width"


class TestMessages:
    def test_an_unknown_argument(self, registry):
        with pytest.raises(
            OverrideError,
            match=r"no argument 'image_sise'\. Did you mean image_size.*goes into vision_cfg=\{\.\.\.\} or text_cfg=.*"
            "Nothing was built",
        ):
            registry.create("tiny", False, image_sise=3)

    def test_a_value_that_does_not_fit(self, registry):
        with pytest.raises(
            OverrideError, match=r"^An override does not fit the model's config\. The config of the given"
        ):
            registry.create("tiny", False, image_size="big")
