# ruff: noqa: ARG005 - hooks take arguments by name
"""Aspects: what a model predicts for an image, and with which labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from registry_core import ImageAspects, InputError, PluginError

CAT = Path(__file__).parents[2] / "examples" / "first_model" / "cat.jpg"
LABELS = ["cat", "dog", "garden gnome"]


class TestResult:
    def test_best_and_top_go_by_probability(self, registry, make):
        (result,) = registry.classifier(make(), LABELS)(CAT)
        found = result.probabilities["content"]
        assert list(found) == LABELS
        assert sum(found.values()) == pytest.approx(1)
        ranking = sorted(found, key=found.get, reverse=True)
        assert result.best == {"content": ranking[0]}
        assert list(result.top()["content"]) == ranking
        assert result.top(2) == {"content": {label: found[label] for label in ranking[:2]}}

    def test_features_that_are_not_finite_give_an_error(self, registry, make):
        model = make()
        with torch.no_grad():
            model.visual.proj.fill_(float("nan"))
        (result,) = registry.classifier(model, LABELS)([CAT], strict=False)
        assert "not finite numbers" in result.error


class TestLabels:
    @pytest.mark.parametrize("labels", ["cat", None, [1, 2], {"cat"}])
    def test_labels_that_are_not_a_list_of_strings(self, registry, make, labels):
        with pytest.raises(InputError, match="labels must be a list of strings, got") as caught:
            registry.classifier(make(), labels)
        assert (caught.value.argument, caught.value.found) == ("labels", labels)

    def test_empty_labels(self, registry, make):
        with pytest.raises(InputError, match="labels contains an empty string"):
            registry.classifier(make(), ["cat", " "])

    def test_no_labels_for_a_model_that_predicts_only_the_content(self, registry, make):
        with pytest.raises(
            InputError, match="No labels were given, and small_clip predicts only the content"
        ) as caught:
            registry.classifier(make())
        assert (caught.value.argument, caught.value.name) == ("labels", "small_clip")


class TestAspectsOfAPlugin:
    def test_are_predicted(self, theirs):
        def hook(model):
            def features(images):
                content = model.encode_image(images, normalize=True)
                return {"content": content, "sharpness": -content}

            return ImageAspects(features, {"sharpness": ["sharp", "blurred"]})

        registry, model = theirs(hook)
        (result,) = registry.classifier(model, ["sharp", "blurred"], templates=["{}"])(CAT)
        content, sharpness = result.probabilities["content"], result.probabilities["sharpness"]
        # With two labels, the opposite sign of the features swaps the probabilities.
        assert sharpness["sharp"] == pytest.approx(content["blurred"], abs=1e-6)

    def test_may_be_none(self, theirs):
        registry, model = theirs(lambda model: None)
        assert list(next(registry.classifier(model, LABELS)(CAT)).probabilities) == ["content"]

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"content": 1}, "a dict, expected ImageAspects or None"),
            (ImageAspects(None), "an ImageAspects whose features are a NoneType, expected a function"),
            (ImageAspects(len, ["x"]), "labels are a list, expected a mapping"),
            (ImageAspects(len, {"x": "sharp"}), "labels of 'x' that are not a list of different strings: 'sharp'"),
            (ImageAspects(len, {"x": []}), "labels of 'x' that are not a list"),
            (ImageAspects(len, {"x": ["a", "a"]}), "labels of 'x' that are not a list"),
        ],
    )
    def test_that_are_invalid_are_an_error_of_the_plugin(self, theirs, answer, words):
        registry, model = theirs(lambda model: answer)
        with pytest.raises(PluginError, match=words) as caught:
            registry.classifier(model, LABELS)
        assert (caught.value.plugin, caught.value.hook) == ("sharp", "build_aspects")
