from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from registry_core import InputError
from registry_core.zero_shot import (
    IMAGENET_CLASSNAMES,
    OPENAI_IMAGENET_TEMPLATES,
    SIMPLE_IMAGENET_TEMPLATES,
    build_zero_shot_classifier,
)

WORDS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TEMPLATES = ["a photo of a {}.", "a {} in the rain."]
NAMES = ["cat", "dog", "polar bear", "great white shark", "vase"]


@pytest.fixture
def model(registry):
    registry.add_config(WORDS, "words")
    torch.manual_seed(0)
    return registry.create("words", pretrained=False)


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
        code = "import sys, registry_core.zero_shot; assert 'torch' not in sys.modules"
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

    @pytest.mark.parametrize("name", ["words", "daclip_words"])
    def test_pictures_are_classified(self, registry, name):
        registry.add_config(WORDS, "words")
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
    def test_what_is_no_list_of_names_is_refused(self, model, tokenizer, wrong):
        with pytest.raises(InputError, match="classnames must be a list with at least one item, got"):
            build_zero_shot_classifier(model, tokenizer, wrong, TEMPLATES)

    @pytest.mark.parametrize("wrong", ["a photo of a {}.", []])
    def test_what_is_no_list_of_templates_is_refused(self, model, tokenizer, wrong):
        with pytest.raises(InputError, match="templates must be a list with at least one item, got"):
            build_zero_shot_classifier(model, tokenizer, NAMES, wrong)

    @pytest.mark.parametrize(
        ("template", "fault"),
        [
            ("a photo", "the class name is not in it"),
            ("a {c}", "KeyError"),
            ("{} and {}", "IndexError"),
            ("{", "ValueError"),
        ],
    )
    def test_a_template_that_names_no_class_is_refused(self, model, tokenizer, template, fault):
        with pytest.raises(InputError, match=f"makes no prompt of a class name: {fault}.*a photo of a {{}}"):
            build_zero_shot_classifier(model, tokenizer, NAMES, [template])

    def test_batches_of_no_class_are_refused(self, model, tokenizer):
        with pytest.raises(InputError, match="num_classes_per_batch=0: expected a positive number, or None"):
            build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=0)

    def test_a_template_of_another_kind_is_refused(self, model, tokenizer):
        with pytest.raises(InputError, match=r"The template 3 is neither a text with {} in the place of .* nor a func"):
            build_zero_shot_classifier(model, tokenizer, NAMES, [3])

    def test_batches_of_a_part_of_a_class_are_refused(self, model, tokenizer):
        with pytest.raises(InputError, match=r"num_classes_per_batch=2\.0: expected a positive number, or None"):
            build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES, num_classes_per_batch=2.0)
