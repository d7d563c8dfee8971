# ruff: noqa: ARG005 - hooks take arguments by name
"""Probabilities of labels for images, from Python."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from registry_core import BuildError, ImageAspects, InputError, PluginError, Registry
from registry_core.zero_shot.prompts import IMAGENET_CLASSNAMES

CAT = Path(__file__).parents[2] / "examples" / "first_model" / "cat.jpg"
LABELS = ["cat", "dog", "garden gnome"]


def table(results, aspect="content"):
    return torch.tensor([list(result.probabilities[aspect].values()) for result in results])


@torch.no_grad()
def logits(registry, model, paths, labels=LABELS):
    """Computed with the methods of the model, one image at a time."""
    preprocess, tokenizer = registry.preprocess(model), registry.tokenizer(model)
    texts = model.encode_text(tokenizer([f"a photo of a {label}." for label in labels]), normalize=True)
    inputs = [preprocess(Image.open(path))[None] for path in paths]
    return torch.cat([model.logit_scale.exp() * model.encode_image(each, normalize=True) @ texts.T for each in inputs])


class TestProbabilities:
    def test_are_the_softmax_of_the_models_logits(self, registry, make, images):
        model = make()
        results = list(registry.classifier(model, LABELS)(images))
        assert [result.image for result in results] == images
        torch.testing.assert_close(table(results), logits(registry, model, images).softmax(-1), atol=1e-6, rtol=0)
        assert all(list(result.probabilities) == ["content"] for result in results)

    @pytest.mark.parametrize("size", [1, 3, 10, 100])
    def test_do_not_depend_on_the_batch(self, registry, make, images, size):
        model = make()
        expected = table(registry.classifier(model, LABELS)(images))
        found = table(registry.classifier(model, LABELS, batch_size=size)(images))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

    def test_of_a_model_with_a_bias_are_sigmoids(self, registry, make, images):
        model = make("small_siglip")
        classifier = registry.classifier(model, LABELS)
        assert classifier.independent
        expected = (logits(registry, model, images) + model.logit_bias).sigmoid().detach()
        torch.testing.assert_close(table(classifier(images)), expected, atol=1e-6, rtol=0)
        assert not registry.classifier(make(), LABELS).independent

    def test_templates_are_averaged(self, registry, make):
        model = make()
        one = registry.classifier(model, LABELS, templates=["{}"])
        two = registry.classifier(model, LABELS, templates=["{}", lambda label: f"{label} in the rain"])
        assert next(one(CAT)).probabilities != next(two(CAT)).probabilities

    @pytest.mark.parametrize("vision", [{"patch_dropout": 0.5}, {"layers": [1, 1, 1, 1], "patch_size": None}])
    def test_of_a_model_in_training_are_those_in_evaluation(self, registry, make, images, vision):
        """Neither dropped patches nor the batch count, and no running statistic moves."""
        model = make(vision_cfg=vision)
        expected = table(registry.classifier(model, LABELS)(images))
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        model.visual.conv1.eval()
        for batch in (1, 10):
            found = table(registry.classifier(model, LABELS, batch_size=batch)(images))
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        assert [name for name, module in model.named_modules() if not module.training] == ["visual.conv1"]
        torch.testing.assert_close(dict(model.named_buffers()), buffers, atol=0, rtol=0)

    def test_a_label_given_twice_is_one_label(self, registry, make):
        classifier = registry.classifier(make(), IMAGENET_CLASSNAMES)
        assert len(IMAGENET_CLASSNAMES) == 1000
        assert classifier.labels == {"content": list(dict.fromkeys(IMAGENET_CLASSNAMES))}

    @pytest.mark.parametrize("precision", ["bf16", "pure_bf16", "fp16", "pure_fp16", "amp", "amp_bf16"])
    def test_come_near_in_lower_precision(self, registry, make, precision):
        expected = table(registry.classifier(make(), LABELS)(CAT))
        found = table(registry.classifier(make(precision=precision), LABELS)(CAT))
        torch.testing.assert_close(found, expected, atol=0.03, rtol=0)

    @pytest.mark.parametrize("precision", ["amp", "amp_bf16"])
    def test_are_computed_in_float32_under_mixed_precision(self, registry, make, images, precision):
        """bfloat16 has 8 bits: its probabilities would differ from each other in steps of up to 0.004."""
        found = table(registry.classifier(make(precision=precision), LABELS)(images))
        torch.testing.assert_close(found.sum(-1), torch.ones(len(found)), atol=1e-6, rtol=0)
        assert (found != found.bfloat16().float()).all()

    def test_coca_is_classified(self, registry, configs):
        clip = configs["small_clip"]
        registry.add_config({
            **clip, "custom_text": True,
            "vision_cfg": {**clip["vision_cfg"], "attentional_pool": True, "output_tokens": True},
            "text_cfg": {**clip["text_cfg"], "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
            "embed_dim": 32,
        }, "small_coca")  # fmt: skip
        model = registry.create("small_coca", False)
        (result,) = registry.classifier(model, LABELS)(CAT)
        torch.testing.assert_close(table([result]), logits(registry, model, [CAT]).softmax(-1), atol=1e-6, rtol=0)

    @pytest.mark.parity
    @pytest.mark.parametrize("name", ["small_clip", "small_siglip"])
    def test_are_those_of_open_clips_own_modules(self, registry, make, images, configs, name):
        open_clip = pytest.importorskip("open_clip")
        mine = make(name)
        keys = {key: value for key, value in configs[name].items() if key != "custom_text"}
        theirs = (open_clip.CLIP if name == "small_clip" else open_clip.CustomTextCLIP)(**keys).eval()
        theirs.load_state_dict(mine.state_dict())
        transform = open_clip.image_transform(32, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN,
                                              std=open_clip.OPENAI_DATASET_STD)  # fmt: skip
        ids = open_clip.SimpleTokenizer(context_length=24)([f"a photo of a {label}." for label in LABELS])
        with torch.no_grad():
            image_logits, _ = theirs.get_logits(torch.stack([transform(Image.open(p)) for p in images]), ids)
        expected = image_logits.softmax(-1) if name == "small_clip" else image_logits.sigmoid()
        torch.testing.assert_close(table(registry.classifier(mine, LABELS)(images)), expected, atol=1e-5, rtol=0)


class TestDaClip:
    def test_predicts_content_and_degradation_in_one_pass(self, registry, make):
        model = make("daclip_small_clip")
        (result,) = registry.classifier(model, LABELS)(CAT)
        assert list(result.probabilities) == ["content", "degradation"]
        assert len(result.probabilities["degradation"]) == 10
        with torch.no_grad():
            image = registry.preprocess(model)(Image.open(CAT))[None]
            _, degradation = model.encode_image(image, control=True, normalize=True)
            labels = list(result.probabilities["degradation"])
            texts = model.encode_text(registry.tokenizer(model)(labels), normalize=True)
            expected = (model.logit_scale.exp() * degradation @ texts.T).softmax(-1)
        torch.testing.assert_close(table([result], "degradation"), expected, atol=1e-6, rtol=0)
        assert {"hazy", "uncompleted", "motion-blurry"} <= set(labels)

    def test_without_labels_predicts_the_degradation_alone(self, registry, make):
        (result,) = registry.classifier(make("daclip_small_clip"))(CAT)
        assert list(result.best) == ["degradation"]

    def test_its_features_are_the_originals(self, golden):
        registry = Registry()
        registry.add_config(CAT.with_name("tiny.json"))
        model = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")
        figures = load_file(golden / "daclip_tiny_io.safetensors")
        with torch.no_grad():
            found = registry.services.aspects(registry.config("daclip_tiny"), model).features(figures["in.image"])
        for aspect, name in (("content", "control"), ("degradation", "degra")):
            expected = figures[f"full.encode_image_{name}_norm"]
            torch.testing.assert_close(found[aspect], expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(("tower", "lacking"), [("image", "text"), ("text", "image")])
    def test_needs_both_towers(self, registry, make, tower, lacking):
        with pytest.raises(BuildError) as caught:
            list(registry.classifier(make("daclip_small_clip", tower=tower), LABELS)(CAT))
        assert caught.value.tower == lacking


class TestImages:
    def test_may_be_a_path_a_string_or_an_image_and_one_or_many(self, registry, make):
        classifier = registry.classifier(make(), LABELS)
        with Image.open(CAT) as image:
            results = [*classifier([CAT, str(CAT), image]), *classifier(str(CAT)), *classifier(CAT), *classifier(image)]
        assert len(results) == 6
        assert len({tuple(result.probabilities["content"].values()) for result in results}) <= 2  # batches of 1 and 3
        assert list(classifier([])) == []

    def test_are_read_two_batches_at_a_time(self, registry, make):
        taken = []

        def endless():
            while True:
                taken.append(CAT)
                yield CAT

        results = registry.classifier(make(), LABELS, batch_size=2)(endless())
        assert len(list(islice(results, 5))) == 5
        assert len(taken) <= 8
        results.close()

    def test_the_gradient_mode_of_the_caller_is_unchanged(self, registry, make):
        results = registry.classifier(make(), LABELS, batch_size=1)([CAT, CAT])
        next(results)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


class TestUnreadable:
    def test_images_have_a_reason_and_the_others_are_classified(self, registry, make, damaged):
        reasons = {
            "text.jpg": "not an image",
            "empty.png": "not an image",
            "cut.jpg": "truncated",
            "crc.png": "",
            "float.tiff": "mode is 'F'",
            "absent.jpg": "No such file or directory",
            ".": "Is a directory",
        }
        mixed = [CAT, *(damaged / name for name in reasons), CAT]
        for size in (1, 2, 32):
            results = list(registry.classifier(make(), LABELS, batch_size=size)(mixed, strict=False))
            assert [result.image for result in results] == mixed
            assert not results[0].error
            assert not results[-1].error
            for result, reason in zip(results[1:-1], reasons.values(), strict=True):
                assert result.error
                assert reason in result.error
                assert result.probabilities == result.best == {}

    def test_images_are_errors_unless_told_otherwise(self, registry, make):
        with pytest.raises(
            InputError, match=r"^absent\.jpg cannot be classified: No such file.*strict=False"
        ) as caught:
            list(registry.classifier(make(), LABELS)([CAT, "absent.jpg"]))
        assert (caught.value.name, caught.value.found) == ("absent.jpg", "No such file or directory")
        assert caught.value.path == Path("absent.jpg")

    @pytest.mark.parametrize("wrong", [3, None, b"cat.jpg", torch.zeros(3, 32, 32)])
    def test_an_object_that_is_not_an_image_is_refused(self, registry, make, wrong):
        with pytest.raises(InputError) as caught:
            list(registry.classifier(make(), LABELS)([wrong]))
        assert caught.value.name == f"A {type(wrong).__name__}"
        assert "Expected a PIL image" in caught.value.found
        assert ".." not in str(caught.value)


class TestMistakes:
    @pytest.mark.parametrize("size", [0, -1, "8", 2.5, None])
    def test_a_batch_size_that_is_not_a_positive_whole_number(self, registry, make, size):
        with pytest.raises(InputError, match=f"batch_size={size!r}: expected a positive whole number") as caught:
            registry.classifier(make(), LABELS, batch_size=size)
        assert (caught.value.argument, caught.value.found) == ("batch_size", size)

    def test_a_template_without_the_label(self, registry, make):
        with pytest.raises(InputError) as caught:
            registry.classifier(make(), LABELS, templates=["a photo"])
        assert (caught.value.argument, caught.value.found) == ("templates", "a photo")

    @pytest.mark.parametrize(("tower", "lacking"), [("image", "text"), ("text", "image")])
    def test_a_model_of_one_tower(self, registry, make, tower, lacking):
        with pytest.raises(BuildError) as caught:
            list(registry.classifier(make(tower=tower), LABELS)(CAT))
        assert caught.value.tower == lacking

    def test_an_empty_shell(self, registry, make):
        with pytest.raises(BuildError, match=r"This CLIP is an empty shell.*Nothing was classified.*a real device"):
            registry.classifier(make(device="meta"), LABELS)

    def test_a_model_without_a_scale(self, registry, make):
        model = make()
        del model.logit_scale
        with pytest.raises(BuildError, match=r"This CLIP has no `logit_scale`.*Nothing was classified"):
            registry.classifier(model, LABELS)

    @pytest.mark.parametrize(
        ("features", "words"),
        [
            (lambda images: images, "returned a Tensor, expected a mapping"),
            (lambda images: {"other": images}, "returned no features of the aspect 'content', but of 'other'"),
            (lambda images: {"content": [1.0]}, r"features of 'content' of shape list, expected \[1, 16\]"),
            (lambda images: {"content": torch.zeros(1, 4)}, r"of shape \[1, 4\], expected \[1, 16\]"),
            (lambda images: {"content": torch.zeros(16)}, r"of shape \[16\], expected \[1, 16\]"),
            (lambda images: {"content": {}["x"]}, "failed with KeyError: 'x'"),
        ],
    )
    def test_features_of_a_plugin_that_do_not_fit(self, theirs, features, words):
        registry, model = theirs(lambda model: ImageAspects(features))
        with pytest.raises(PluginError, match=rf"from plugin sharp .*cannot be used: the function .*{words}") as caught:
            list(registry.classifier(model, LABELS)(CAT))
        assert (caught.value.plugin, caught.value.hook) == ("sharp", "build_aspects")
