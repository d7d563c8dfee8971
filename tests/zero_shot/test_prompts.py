"""The weights of zero-shot classifiers, and ImageNet's class names and templates."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from registry_core import InputError
from registry_core.zero_shot.prompts import (
    IMAGENET_CLASSNAMES,
    OPENAI_IMAGENET_TEMPLATES,
    SIMPLE_IMAGENET_TEMPLATES,
    build_zero_shot_classifier,
)

TEMPLATES = ["a photo of a {}.", "a {} in the rain."]
NAMES = ["cat", "dog", "polar bear", "great white shark", "vase"]


@pytest.fixture
def model(make):
    return make()


@pytest.fixture
def tokenizer(registry, model):
    return registry.tokenizer(model)


class TestData:
    def test_a_name_for_each_class_and_two_lists_of_templates(self):
        assert len(IMAGENET_CLASSNAMES) == 1000
        assert (IMAGENET_CLASSNAMES[0], IMAGENET_CLASSNAMES[-1]) == ("tench", "toilet paper")
        assert len(OPENAI_IMAGENET_TEMPLATES) == 80
        assert len(SIMPLE_IMAGENET_TEMPLATES) == 7
        assert set(SIMPLE_IMAGENET_TEMPLATES) <= set(OPENAI_IMAGENET_TEMPLATES)

    @pytest.mark.parity
    def test_names_and_templates_are_the_published_ones(self):
        theirs = pytest.importorskip("open_clip.zero_shot_metadata")
        assert list(IMAGENET_CLASSNAMES) == list(theirs.IMAGENET_CLASSNAMES)
        for mine, published in (
            (OPENAI_IMAGENET_TEMPLATES, theirs.OPENAI_IMAGENET_TEMPLATES),
            (SIMPLE_IMAGENET_TEMPLATES, theirs.SIMPLE_IMAGENET_TEMPLATES),
        ):
            assert [template.format("x") for template in mine] == [template("x") for template in published]

    def test_reading_them_imports_no_torch(self):
        code = "import sys, registry_core.zero_shot.prompts; assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-P", "-c", code], check=True)


class TestClassifier:
    def test_each_class_is_the_mean_of_its_prompts_at_length_one(self, model, tokenizer):
        weights = build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES)
        assert weights.shape == (16, 5)
        assert not weights.requires_grad
        features = model.encode_text(tokenizer([t.format("dog") for t in TEMPLATES]), normalize=True).mean(0)
        torch.testing.assert_close(weights[:, 1], features / features.norm())

    @pytest.mark.parametrize("size", [1, 2, 5, 7, None])
    def test_batches_change_nothing(self, model, tokenizer, size):
        expected = build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES)
        found = build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=size)
        torch.testing.assert_close(found, expected)

    def test_functions_and_strings_are_templates(self, model, tokenizer):
        functions = [lambda name: f"a photo of a {name}.", "a {} in the rain."]
        expected = build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES)
        assert torch.equal(build_zero_shot_classifier(model, tokenizer, NAMES, functions), expected)

    def test_a_name_with_braces_is_a_name(self, model, tokenizer):
        assert build_zero_shot_classifier(model, tokenizer, ["{x}", "{}"], TEMPLATES).shape == (16, 2)

    @pytest.mark.parametrize("name", ["small_clip", "daclip_small_clip"])
    def test_images_are_classified(self, registry, name):
        any_clip = registry.create(name, pretrained=False)
        weights = build_zero_shot_classifier(any_clip, registry.tokenizer(name), NAMES, TEMPLATES)
        scores = any_clip.encode_image(torch.rand(3, 3, 32, 32), normalize=True) @ weights
        assert scores.shape == (3, 5)
        assert scores.abs().max() <= 1 + 1e-5

    def test_ids_go_where_they_are_told(self, tokenizer):
        asked = []

        class Spy(torch.nn.Module):
            def encode_text(self, ids, normalize):
                asked.append((ids.device.type, normalize))
                return torch.ones(ids.shape[0], 4)

        build_zero_shot_classifier(Spy(), tokenizer, NAMES, TEMPLATES, device="meta")
        assert set(asked) == {("meta", True)}

    def test_progress_counts_classes(self, model, tokenizer, capsys):
        build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=2, use_tqdm=True)
        assert "| 5/5 [" in capsys.readouterr().err

    @pytest.mark.parity
    @pytest.mark.parametrize("size", [2, 10, None])
    def test_the_classifier_equals_open_clips(self, model, tokenizer, size):
        open_clip = pytest.importorskip("open_clip")
        theirs = open_clip.build_zero_shot_classifier(
            model, tokenizer, list(NAMES), TEMPLATES, num_classes_per_batch=size
        )
        mine = build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=size)
        assert torch.equal(mine, theirs)


class TestMistakes:
    @pytest.mark.parametrize("wrong", ["cat", [], None, 3])
    def test_class_names_that_are_not_a_list(self, model, tokenizer, wrong):
        with pytest.raises(InputError, match="classnames must be a list with at least one item, got") as caught:
            build_zero_shot_classifier(model, tokenizer, wrong, TEMPLATES)
        assert (caught.value.argument, caught.value.found) == ("classnames", wrong)

    @pytest.mark.parametrize("wrong", ["a photo of a {}.", []])
    def test_templates_that_are_not_a_list(self, model, tokenizer, wrong):
        with pytest.raises(InputError) as caught:
            build_zero_shot_classifier(model, tokenizer, NAMES, wrong)
        assert (caught.value.argument, caught.value.found) == ("templates", wrong)

    @pytest.mark.parametrize(
        ("template", "fault"),
        [
            ("a photo", "it does not contain the class name"),
            ("a {c}", "KeyError"),
            ("{} and {}", "IndexError"),
            ("{", "ValueError"),
        ],
    )
    def test_a_template_without_the_class_name_is_refused(self, model, tokenizer, template, fault):
        with pytest.raises(
            InputError, match=f"cannot be filled with a class name: {fault}.*a photo of a {{}}"
        ) as caught:
            build_zero_shot_classifier(model, tokenizer, NAMES, [template])
        assert (caught.value.argument, caught.value.found) == ("templates", template)

    @pytest.mark.parametrize("size", [0, 2.0])
    def test_a_batch_size_that_is_not_a_positive_whole_number_is_refused(self, model, tokenizer, size):
        with pytest.raises(
            InputError, match=rf"num_classes_per_batch={size}: expected a positive whole number, or None"
        ) as caught:
            build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=size)
        assert caught.value.argument == "num_classes_per_batch"

    def test_a_template_of_another_type_is_refused(self, model, tokenizer):
        with pytest.raises(InputError, match=r"The template 3 is neither a string with {} in place of .* nor a func"):
            build_zero_shot_classifier(model, tokenizer, NAMES, [3])
