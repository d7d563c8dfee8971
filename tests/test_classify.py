# ruff: noqa: ARG005 - hooks take arguments by name
"""Probabilities of labels for pictures, from Python."""

from __future__ import annotations

import itertools
import os
import shutil
import types
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

from registry_core import BuildError, InputError, PictureAspects, PluginError, Registry, hookimpl
from registry_core.picture_files import find_pictures, picture_endings, read_picture
from registry_core.zero_shot import IMAGENET_CLASSNAMES

CAT = Path(__file__).parents[1] / "examples" / "first_model" / "cat.jpg"
WORDS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SIGLIP = {**WORDS, "custom_text": True, "init_logit_bias": -1.0, "init_logit_scale": 1.0}
LABELS = ["cat", "dog", "garden gnome"]


@pytest.fixture(scope="module")
def registry():
    fresh = Registry()
    fresh.add_config(WORDS, "words")
    fresh.add_config(SIGLIP, "sigwords")
    return fresh


@pytest.fixture
def make(registry):
    def make(name="words", **options):
        torch.manual_seed(0)
        return registry.create(name, pretrained=False, **options)

    return make


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures of noise, as files."""
    torch.manual_seed(1)
    paths = []
    for index in range(10):
        values = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy()
        paths.append(tmp_path / f"noise-{index}.png")
        Image.fromarray(values).save(paths[-1])
    return paths


def table(results, aspect="content"):
    return torch.tensor([list(result.probabilities[aspect].values()) for result in results])


@torch.no_grad()
def logits(registry, model, paths, labels=LABELS):
    """By the model's own methods, one picture at a time."""
    preprocess, tokenizer = registry.preprocess(model), registry.tokenizer(model)
    texts = model.encode_text(tokenizer([f"a photo of a {label}." for label in labels]), normalize=True)
    inputs = [preprocess(Image.open(path))[None] for path in paths]
    return torch.cat([model.logit_scale.exp() * model.encode_image(each, normalize=True) @ texts.T for each in inputs])


class TestProbabilities:
    def test_are_the_softmax_of_the_models_logits(self, registry, make, pictures):
        model = make()
        results = list(registry.classifier(model, LABELS)(pictures))
        assert [result.picture for result in results] == pictures
        torch.testing.assert_close(table(results), logits(registry, model, pictures).softmax(-1), atol=1e-6, rtol=0)
        assert all(list(result.probabilities) == ["content"] for result in results)

    @pytest.mark.parametrize("size", [1, 3, 10, 100])
    def test_do_not_depend_on_the_batch(self, registry, make, pictures, size):
        model = make()
        expected = table(registry.classifier(model, LABELS)(pictures))
        found = table(registry.classifier(model, LABELS, batch_size=size)(pictures))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

    def test_of_a_model_with_a_bias_are_sigmoids(self, registry, make, pictures):
        model = make("sigwords")
        classifier = registry.classifier(model, LABELS)
        assert classifier.independent
        expected = (logits(registry, model, pictures) + model.logit_bias).sigmoid().detach()
        torch.testing.assert_close(table(classifier(pictures)), expected, atol=1e-6, rtol=0)
        assert not registry.classifier(make(), LABELS).independent

    def test_best_and_top_go_by_probability(self, registry, make):
        (result,) = registry.classifier(make(), LABELS)(CAT)
        found = result.probabilities["content"]
        assert list(found) == LABELS
        assert sum(found.values()) == pytest.approx(1)
        ranking = sorted(found, key=found.get, reverse=True)
        assert result.best == {"content": ranking[0]}
        assert list(result.top()["content"]) == ranking
        assert result.top(2) == {"content": {label: found[label] for label in ranking[:2]}}

    def test_templates_are_averaged(self, registry, make):
        model = make()
        one = registry.classifier(model, LABELS, templates=["{}"])
        two = registry.classifier(model, LABELS, templates=["{}", lambda label: f"{label} in the rain"])
        assert next(one(CAT)).probabilities != next(two(CAT)).probabilities

    @pytest.mark.parametrize("vision", [{"patch_dropout": 0.5}, {"layers": [1, 1, 1, 1], "patch_size": None}])
    def test_of_a_model_in_training_are_those_in_evaluation(self, registry, make, pictures, vision):
        """Neither dropped patches nor the batch count, and no running statistic moves."""
        model = make(vision_cfg=vision)
        expected = table(registry.classifier(model, LABELS)(pictures))
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        model.visual.conv1.eval()
        for batch in (1, 10):
            found = table(registry.classifier(model, LABELS, batch_size=batch)(pictures))
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

    def test_coca_is_classified(self, registry):
        registry.add_config({
            **WORDS, "custom_text": True,
            "vision_cfg": {**WORDS["vision_cfg"], "attentional_pool": True, "output_tokens": True},
            "text_cfg": {**WORDS["text_cfg"], "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
            "embed_dim": 32,
        }, "coca-words")  # fmt: skip
        model = registry.create("coca-words", False)
        (result,) = registry.classifier(model, LABELS)(CAT)
        torch.testing.assert_close(table([result]), logits(registry, model, [CAT]).softmax(-1), atol=1e-6, rtol=0)

    @pytest.mark.parity
    @pytest.mark.parametrize("raw", [WORDS, SIGLIP], ids=["clip", "siglip"])
    def test_are_those_of_open_clips_own_modules(self, registry, make, pictures, raw):
        open_clip = pytest.importorskip("open_clip")
        mine = make("words" if raw is WORDS else "sigwords")
        keys = {key: value for key, value in raw.items() if key != "custom_text"}
        theirs = (open_clip.CLIP if raw is WORDS else open_clip.CustomTextCLIP)(**keys).eval()
        theirs.load_state_dict(mine.state_dict())
        transform = open_clip.image_transform(32, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN,
                                              std=open_clip.OPENAI_DATASET_STD)  # fmt: skip
        ids = open_clip.SimpleTokenizer(context_length=24)([f"a photo of a {label}." for label in LABELS])
        with torch.no_grad():
            image_logits, _ = theirs.get_logits(torch.stack([transform(Image.open(p)) for p in pictures]), ids)
        expected = image_logits.softmax(-1) if raw is WORDS else image_logits.sigmoid()
        torch.testing.assert_close(table(registry.classifier(mine, LABELS)(pictures)), expected, atol=1e-5, rtol=0)


class TestDaClip:
    def test_tells_content_and_degradation_of_one_pass(self, registry, make):
        model = make("daclip_words")
        (result,) = registry.classifier(model, LABELS)(CAT)
        assert list(result.probabilities) == ["content", "degradation"]
        assert len(result.probabilities["degradation"]) == 10
        with torch.no_grad():
            picture = registry.preprocess(model)(Image.open(CAT))[None]
            _, degradation = model.encode_image(picture, control=True, normalize=True)
            words = list(result.probabilities["degradation"])
            texts = model.encode_text(registry.tokenizer(model)(words), normalize=True)
            expected = (model.logit_scale.exp() * degradation @ texts.T).softmax(-1)
        torch.testing.assert_close(table([result], "degradation"), expected, atol=1e-6, rtol=0)
        assert {"hazy", "uncompleted", "motion-blurry"} <= set(words)

    def test_without_labels_tells_the_degradation_alone(self, registry, make):
        (result,) = registry.classifier(make("daclip_words"))(CAT)
        assert list(result.best) == ["degradation"]

    def test_its_features_are_the_originals(self, golden):
        registry = Registry()
        registry.add_config(CAT.with_name("tiny.json"))
        model = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")
        figures = load_file(golden / "daclip_tiny_io.safetensors")
        with torch.no_grad():
            found = registry.services.aspects(model).features(figures["in.image"])
        for aspect, name in (("content", "control"), ("degradation", "degra")):
            expected = figures[f"full.encode_image_{name}_norm"]
            torch.testing.assert_close(found[aspect], expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(("tower", "lacking"), [("image", "text"), ("text", "image")])
    def test_needs_both_sides(self, registry, make, tower, lacking):
        with pytest.raises(BuildError, match=f"This model has no {lacking} tower"):
            list(registry.classifier(make("daclip_words", tower=tower), LABELS)(CAT))


class TestPictures:
    def test_may_be_a_path_a_string_or_a_picture_and_one_or_many(self, registry, make):
        classifier = registry.classifier(make(), LABELS)
        with Image.open(CAT) as image:
            results = [*classifier([CAT, str(CAT), image]), *classifier(str(CAT)), *classifier(CAT), *classifier(image)]
        assert len(results) == 6
        assert len({tuple(result.probabilities["content"].values()) for result in results}) <= 2  # batches of 1 and 3
        assert list(classifier([])) == []

    def test_are_taken_two_batches_at_a_time(self, registry, make):
        taken = []

        def endless():
            while True:
                taken.append(CAT)
                yield CAT

        results = registry.classifier(make(), LABELS, batch_size=2)(endless())
        assert len(list(islice(results, 5))) == 5
        assert len(taken) <= 8
        results.close()

    def test_gradients_are_the_callers_affair(self, registry, make):
        results = registry.classifier(make(), LABELS, batch_size=1)([CAT, CAT])
        next(results)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    @pytest.mark.parametrize(
        ("kind", "mode"),
        [*itertools.product(("gif", "png", "tiff"), ("P", "L", "RGBA", "I;16")), ("tiff", "CMYK"), ("jpg", "CMYK")],
    )
    def test_of_many_kinds_are_read_from_files_as_pillow_reads_them(self, registry, make, tmp_path, mode, kind):
        path = tmp_path / f"picture.{kind}"
        Image.effect_mandelbrot((40, 50), (-2, -1, 1, 1), 50).convert(mode).save(path)
        with Image.open(path) as opened:
            results = list(registry.classifier(make(), LABELS)([path, opened]))
        assert results[0].probabilities == results[1].probabilities


def damaged(folder):
    """Files that are no pictures -> words of the reason."""
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(CAT.read_bytes()[:9000])
    Image.new("L", (40, 40)).save(folder / "crc.png")
    data = bytearray((folder / "crc.png").read_bytes())
    data[50] ^= 255
    (folder / "crc.png").write_bytes(data)
    Image.new("F", (40, 40)).save(folder / "float.tiff")
    return {
        "text.jpg": "no picture that pillow can read",
        "empty.png": "no picture that pillow can read",
        "cut.jpg": "truncated",
        "crc.png": "",
        "float.tiff": "The picture's mode is 'F'",
        "absent.jpg": "No such file or directory",
        ".": "Is a directory",
    }


class TestUnreadable:
    def test_pictures_are_named_with_a_reason_and_the_others_go_on(self, registry, make, tmp_path):
        reasons = damaged(tmp_path)
        paths = [tmp_path / name for name in reasons]
        mixed = [CAT, *paths, CAT]
        for size in (1, 2, 32):
            results = list(registry.classifier(make(), LABELS, batch_size=size)(mixed, strict=False))
            assert [result.picture for result in results] == mixed
            assert not results[0].error
            assert not results[-1].error
            for result, words in zip(results[1:-1], reasons.values(), strict=True):
                assert result.error
                assert words in result.error
                assert result.probabilities == result.best == {}

    def test_a_decompression_bomb_is_one(self, registry, make, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        (result,) = registry.classifier(make(), LABELS)([CAT], strict=False)
        assert "decompression bomb" in result.error

    def test_whatever_a_decoder_raises_is_a_reason(self, registry, make, monkeypatch, tmp_path):
        Image.new("L", (40, 40)).save(tmp_path / "x.png")

        def fail(self):
            raise AssertionError("odd chunk")

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", fail)
        (result,) = registry.classifier(make(), LABELS)([tmp_path / "x.png"], strict=False)
        assert result.error == "AssertionError: odd chunk"

    def test_pictures_are_errors_unless_told_otherwise(self, registry, make):
        with pytest.raises(InputError, match=r"^absent\.jpg cannot be classified: No such file.*strict=False"):
            list(registry.classifier(make(), LABELS)([CAT, "absent.jpg"]))

    @pytest.mark.parametrize("stranger", [3, None, b"cat.jpg", torch.zeros(3, 32, 32)])
    def test_what_is_no_picture_is_refused(self, registry, make, stranger):
        with pytest.raises(InputError, match=r"cannot be classified: Expected a PIL image, got a"):
            list(registry.classifier(make(), LABELS)([stranger]))

    def test_features_that_are_no_numbers_are_no_probabilities(self, registry, make):
        model = make()
        with torch.no_grad():
            model.visual.proj.fill_(float("nan"))
        (result,) = registry.classifier(model, LABELS)([CAT], strict=False)
        assert "not finite numbers" in result.error


class TestMistakes:
    @pytest.mark.parametrize("labels", ["cat", None, [1, 2], {"cat"}])
    def test_labels_that_are_no_list_of_texts(self, registry, make, labels):
        with pytest.raises(InputError, match="labels must be a list of texts, got"):
            registry.classifier(make(), labels)

    def test_empty_labels(self, registry, make):
        with pytest.raises(InputError, match="labels holds an empty text"):
            registry.classifier(make(), ["cat", " "])

    def test_no_labels_for_a_model_that_tells_nothing_else(self, registry, make):
        with pytest.raises(InputError, match="No labels were given, and words tells of nothing but the content"):
            registry.classifier(make())

    def test_a_batch_of_no_picture(self, registry, make):
        with pytest.raises(InputError, match="batch_size=0: expected a positive number"):
            registry.classifier(make(), LABELS, batch_size=0)

    @pytest.mark.parametrize("size", ["8", 2.5, None])
    def test_a_batch_size_that_is_no_whole_number(self, registry, make, size):
        with pytest.raises(InputError, match=f"batch_size={size!r}: expected a positive number"):
            registry.classifier(make(), LABELS, batch_size=size)

    def test_templates_that_name_no_label(self, registry, make):
        with pytest.raises(InputError, match="makes no prompt of a class name"):
            registry.classifier(make(), LABELS, templates=["a photo"])

    @pytest.mark.parametrize(("tower", "lacking"), [("image", "text"), ("text", "image")])
    def test_a_model_of_one_tower(self, registry, make, tower, lacking):
        with pytest.raises(BuildError, match=f"has no {lacking} tower"):
            list(registry.classifier(make(tower=tower), LABELS)(CAT))

    def test_an_empty_shell(self, registry, make):
        with pytest.raises(BuildError, match=r"This CLIP is an empty shell.*Nothing was classified.*a real device"):
            registry.classifier(make(device="meta"), LABELS)

    def test_a_model_without_a_scale(self, registry, make):
        model = make()
        del model.logit_scale
        with pytest.raises(BuildError, match=r"This CLIP has no `logit_scale`.*Nothing was classified"):
            registry.classifier(model, LABELS)


class TestOtherPlugins:
    """A plugin of somebody else's, over the shipped architecture."""

    @pytest.fixture
    def theirs(self):
        """theirs(hook) -> registry and model of an architecture `sharp` whose build_aspects is the hook."""
        from registry_plugins.openai_clip.config import ClipConfig
        from registry_plugins.openai_clip.model import CLIP

        class SharpConfig(ClipConfig):
            architecture = "sharp"

        def theirs(hook):
            plugin = types.SimpleNamespace(__name__="sharp")

            def resolve_config(name, raw):
                raw = {**WORDS, "architecture": "sharp"} if name == "sharp-words" and raw is None else raw
                return SharpConfig.parse(raw, name) if raw and raw.get("architecture") == "sharp" else None

            def build_model(config, tower):
                return CLIP(config, tower)

            def build_aspects(model):
                return hook(model)

            plugin.resolve_config, plugin.build_aspects = hookimpl(resolve_config), hookimpl(build_aspects)
            plugin.build_model = hookimpl(build_model)
            registry = Registry()
            registry.register(plugin, "sharp")
            return registry, registry.create("sharp-words", False)

        return theirs

    def test_tell_aspects_of_their_own(self, theirs):
        def hook(model):
            def features(pictures):
                content = model.encode_image(pictures, normalize=True)
                return {"content": content, "sharpness": -content}

            return PictureAspects(features, {"sharpness": ["sharp", "blurred"]})

        registry, model = theirs(hook)
        (result,) = registry.classifier(model, ["sharp", "blurred"], templates=["{}"])(CAT)
        content, sharpness = result.probabilities["content"], result.probabilities["sharpness"]
        assert sharpness["sharp"] == pytest.approx(content["blurred"], abs=1e-6)  # two labels: the sign turns them

    def test_may_tell_nothing(self, theirs):
        registry, model = theirs(lambda model: None)
        assert list(next(registry.classifier(model, LABELS)(CAT)).probabilities) == ["content"]

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ({"content": 1}, "a dict, expected PictureAspects or None"),
            (PictureAspects(None), "features are a NoneType, expected a function"),
            (PictureAspects(len, ["x"]), "labels are a list, expected a mapping"),
            (PictureAspects(len, {"x": "sharp"}), "labels of 'x' that are no list of different texts: 'sharp'"),
            (PictureAspects(len, {"x": []}), "labels of 'x' that are no list"),
            (PictureAspects(len, {"x": ["a", "a"]}), "labels of 'x' that are no list"),
        ],
    )
    def test_that_answer_wrongly_are_named(self, theirs, answer, words):
        registry, model = theirs(lambda model: answer)
        with pytest.raises(PluginError, match=rf"Plugin sharp .*hook build_aspects with .*{words}"):
            registry.classifier(model, LABELS)

    @pytest.mark.parametrize(
        ("features", "words"),
        [
            (lambda pictures: pictures, "gave a Tensor, expected a mapping"),
            (lambda pictures: {"other": pictures}, "gave no features of the aspect 'content', but of 'other'"),
            (lambda pictures: {"content": [1.0]}, r"features of 'content' of shape list, expected \[1, 16\]"),
            (lambda pictures: {"content": torch.zeros(1, 4)}, r"of shape \[1, 4\], expected \[1, 16\]"),
            (lambda pictures: {"content": torch.zeros(16)}, r"of shape \[16\], expected \[1, 16\]"),
            (lambda pictures: {"content": {}["x"]}, "failed with KeyError: 'x'"),
        ],
    )
    def test_whose_features_are_wrong_are_named(self, theirs, features, words):
        registry, model = theirs(lambda model: PictureAspects(features))
        with pytest.raises(PluginError, match=rf"from plugin sharp .*cannot be used: the function .*{words}"):
            list(registry.classifier(model, LABELS)(CAT))


class TestFindPictures:
    def test_folders_are_searched_and_sorted(self, tmp_path):
        for name in ("b.PNG", "a/z.jpg", "a/deep/y.webp", "notes.txt", "weights.h5", ".hidden.jpg", ".git/x.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = find_pictures([str(CAT), str(tmp_path)])
        names = [os.path.relpath(path, tmp_path) for path in found.paths[1:]]
        assert found.paths[0] == str(CAT)
        assert names == ["a/deep/y.webp", "a/z.jpg", "b.PNG"]
        assert found.problems == {}

    def test_a_file_counts_whatever_its_ending(self, tmp_path):
        shutil.copy(CAT, tmp_path / "cat")
        assert find_pictures([str(tmp_path / "cat")]).paths == [str(tmp_path / "cat")]

    def test_what_is_not_there_has_a_reason_in_its_place(self, tmp_path):
        found = find_pictures(["absent.jpg", str(CAT), str(tmp_path)])
        assert found.paths == ["absent.jpg", str(CAT), str(tmp_path)]
        assert found.problems == {
            "absent.jpg": "No such file or directory",
            str(tmp_path): "no file in this folder has the ending of a picture",
        }

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
    def test_a_closed_folder_has_a_reason(self, tmp_path):
        tmp_path.chmod(0)
        assert find_pictures([str(tmp_path)]).problems == {str(tmp_path): "Permission denied"}
        tmp_path.chmod(0o700)

    def test_endings_are_of_formats_that_can_be_read(self):
        assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif"} <= picture_endings()
        assert not {".h5", ".pdf", ".mpg", ".grib"} & picture_endings()


def test_a_pipe_is_no_picture(tmp_path):
    """To open it would wait for somebody who writes."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="it is no regular file"):
        read_picture(tmp_path / "pipe.png")
