"""Saving and loading again never changes an output, for a model of every plugin that builds models."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from registry_core import BuildError, Registry
from registry_core.config.model import merged
from registry_core.export.save import TOKENIZER_FILENAMES

TEXT = {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2}
CUSTOM = {
    "embed_dim": 32,
    "custom_text": True,
    "init_logit_bias": -10.0,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "pool_type": "avg"},
    "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
}
COCA = {
    "embed_dim": 32,
    "multimodal_cfg": {"width": 32, "heads": 2, "layers": 2, "context_length": 15, "vocab_size": 600},
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "output_tokens": True,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
    },
    "text_cfg": {**TEXT, "context_length": 15, "embed_cls": True, "output_tokens": True},
}
# Plugin -> the names of its models here.
MODELS = {
    "openai_clip": ("tiny", "tiny-rn"),
    "daclip": ("daclip_tiny",),
    "custom_text_clip": ("tiny-custom",),
    "coca": ("tiny-coca",),
}
ALL = [name for names in MODELS.values() for name in names]


@pytest.fixture
def registry(registry):
    registry.add_config(CUSTOM, "tiny-custom")
    registry.add_config(COCA, "tiny-coca")
    return registry


def moved(model):
    """Add noise to all values: zeros and ones hide what is not saved."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand if name.endswith("running_var") else torch.randn
                tensor.add_((noise(tensor.shape) * 0.1).to(tensor.dtype))
    return model


def outputs(model):
    """All outputs of a model, including those of a DA-CLIP's control tower."""
    dtype = model.state_dict()["visual.conv1.weight"].dtype  # of the first layer of the image tower
    torch.manual_seed(4)
    image = torch.randn(2, 3, *model.config.image_size).to(dtype)
    text = torch.randint(1, 600, (2, 2 * model.config.text_cfg.context_length))
    with torch.no_grad():
        result = {"image": model.encode_image(image), "text": model.encode_text(text.chunk(2, -1)[0])}
        if hasattr(model, "visual_control"):
            result.update(model(image, text))
    return result


def equal(one, other):
    left, right = outputs(one), outputs(other)
    assert left.keys() == right.keys()
    return all(torch.equal(left[key], right[key]) and left[key].isfinite().all() for key in left)


def test_every_plugin_that_builds_models_is_here(registry):
    builders = {p.name for p in registry.plugins() if "build_model" in p.hooks and p.distribution == "registry_core"}
    assert builders == set(MODELS), "add a tiny model of the new plugin to MODELS"


@pytest.mark.parametrize("name", ALL)
class TestEveryModel:
    def test_as_it_is(self, registry, tmp_path, name):
        model = moved(registry.create(name, False))
        again = Registry().create(f"local-dir:{registry.save(model, tmp_path / 'saved')}")
        assert equal(model, again)
        assert type(again) is type(model)
        implied = {"preprocess_cfg": {"size": list(model.config.image_size)}}
        assert registry.report(again).config.raw() == merged(registry.report(model).config.raw(), implied)

    def test_after_overrides(self, registry, tmp_path, name):
        overrides = {
            "image_size": 64 if name in {"tiny-custom", "tiny-coca"} else 32,
            "quick_gelu": True,
            "context_length": 12,
        }
        overrides["preprocess_cfg"] = {"mean": [0.1, 0.2, 0.3], "resize_mode": "longest", "interpolation": "bilinear"}
        if name == "tiny-rn":
            del overrides["quick_gelu"]
        model = moved(registry.create(name, False, **overrides))
        again = Registry().create(f"local-dir:{registry.save(model, tmp_path / 'saved')}")
        assert equal(model, again)
        assert repr(registry.preprocess(again)) == repr(registry.preprocess(model))
        assert repr(registry.preprocess(again, train=True)) == repr(registry.preprocess(model, train=True))

    @pytest.mark.parametrize("precision", ["fp16", "pure_bf16"])
    def test_in_low_precision(self, registry, tmp_path, name, precision):
        model = moved(registry.create(name, False, precision=precision))
        folder = registry.save(model, tmp_path / "saved")
        again = Registry().create(f"local-dir:{folder}", precision=precision)
        assert {key: value.dtype for key, value in again.state_dict().items()} == {
            key: value.dtype for key, value in model.state_dict().items()
        }
        assert equal(model, again)
        full = Registry().create(f"local-dir:{folder}")
        for key, value in model.state_dict().items():
            assert torch.equal(full.state_dict()[key], value.to(full.state_dict()[key].dtype))

    def test_twice(self, registry, tmp_path, name):
        model = moved(registry.create(name, False))
        first = registry.save(model, tmp_path / "first")
        second = registry.save(registry.create(f"local-dir:{first}"), tmp_path / "second")
        for file in ("open_clip_config.json", "open_clip_model.safetensors"):
            assert (first / file).read_bytes() == (second / file).read_bytes()

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_one_tower(self, registry, tmp_path, name, tower):
        whole = moved(registry.create(name, False))
        folder = registry.save(whole, tmp_path / "whole")
        half = registry.create(f"local-dir:{folder}", tower=tower)
        again = registry.create(f"local-dir:{registry.save(half, tmp_path / 'half')}", tower=tower)
        assert again.state_dict().keys() == half.state_dict().keys()
        for key, value in half.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)
            assert torch.equal(whole.state_dict()[key], value)


class TestSettingsOfATag:
    def test_its_activation_and_preprocessing_are_recorded(self, registry, tmp_path):
        """For example, the config of ViT-B-32 has GELU, and its tag openai has QuickGELU."""

        class Tags:
            from registry_core import hookimpl

            @hookimpl
            def list_pretrained(self):
                return [("tiny", "quick")]

            @hookimpl
            def resolve_pretrained(self, name, tag):
                from registry_core import Url, Weights

                stated = {"quick_gelu": True, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"}}
                return (
                    Weights((Url("http://127.0.0.1:9/x.pt"),), tag, stated)
                    if (name, tag) == ("tiny", "quick")
                    else None
                )

        registry.register(Tags(), "tags")
        torch.save(moved(registry.create("tiny", False)).state_dict(), tmp_path / "quick.pt")
        model = registry.create("tiny", tmp_path / "quick.pt", weights_of="quick")
        plain = registry.create("tiny", tmp_path / "quick.pt")
        assert not equal(model, plain)
        again = Registry().create(f"local-dir:{registry.save(model, tmp_path / 'saved')}")
        assert again.config.quick_gelu
        assert equal(model, again)
        assert repr(registry.preprocess(again)) == repr(registry.preprocess(model))
        assert registry.preprocess(again).config.resize_mode == "squash"


class TestTokenizer:
    def test_its_name_and_options_are_recorded(self, registry, tmp_path):
        overrides = {"hf_tokenizer_name": "acme/words", "tokenizer_kwargs": {"clean": "canonicalize"}}
        model = registry.create("tiny", False, text_cfg=overrides)
        again = Registry().create(f"local-dir:{registry.save(model, tmp_path / 'saved')}")
        assert again.config.text_cfg == model.config.text_cfg

    def test_its_files_are_copied(self, registry, tmp_path):
        first = registry.save(registry.create("tiny", False), tmp_path / "first")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (first / name).write_text(json.dumps({"is": name}))
        (first / "optimizer.log").write_text("not the model's")
        second = registry.save(registry.create(f"local-dir:{first}"), tmp_path / "second")
        assert {path.name for path in second.iterdir()} == {
            "README.md", "open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json",
            "tokenizer_config.json",
        }  # fmt: skip
        assert json.loads((second / "tokenizer.json").read_text()) == {"is": "tokenizer.json"}
        assert "tokenizer.json" in TOKENIZER_FILENAMES

    def test_a_folder_that_the_config_names_is_copied(self, registry, tmp_path, monkeypatch):
        """A relative path would not be valid from the saved folder."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "words").mkdir()
        (tmp_path / "words" / "tokenizer.json").write_text("{}")
        model = registry.create("tiny", False, text_cfg={"hf_tokenizer_name": "words"})
        assert (registry.save(model, tmp_path / "saved") / "tokenizer.json").read_text() == "{}"

    @pytest.mark.parametrize("own", [False, True])
    def test_files_of_another_tokenizer_in_the_folder_are_reported(self, registry, tmp_path, own):
        (tmp_path / "words").mkdir()
        (tmp_path / "words" / "tokenizer.json").write_text("{}")
        name = str(tmp_path / "words") if own else "~nobody-of-this-name/words"
        model = registry.create("tiny", False, text_cfg={"hf_tokenizer_name": name})
        folder = registry.save(model, tmp_path / "saved")
        (folder / "vocab.txt").write_text("[PAD]")
        with pytest.warns(UserWarning, match=r"saved contains vocab\.txt, which do not belong to tiny.* another model"):
            registry.save(model, folder)
        registry.save(registry.create("tiny", False), folder)  # no tokenizer of transformers

    def test_the_same_ids_when_what_it_was_made_from_is_gone(self, registry, tmp_path):
        transformers = pytest.importorskip("transformers")
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = {word: number for number, word in enumerate(["<pad>", "<unk>", "a", "photo", "of", "cat", "dog"])}
        unknown = {"unk_token": "<unk>"}
        trained = Tokenizer(models.WordLevel(words, **unknown))
        trained.pre_tokenizer = pre_tokenizers.Whitespace()
        marks = {"pad_token": "<pad>", "eos_token": "<unk>", **unknown}
        wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=trained, **marks)
        wrapped.save_pretrained(tmp_path / "words")
        model = registry.create("tiny", False, text_cfg={"hf_tokenizer_name": str(tmp_path / "words")})
        texts = ["a photo of a cat", "dog"]
        expected = registry.tokenizer(model)(texts)
        folder = registry.save(model, tmp_path / "saved")
        shutil.rmtree(tmp_path / "words")
        again = Registry().create(f"local-dir:{folder}")
        assert expected.shape == (2, 77)
        assert torch.equal(registry.tokenizer(again)(texts), expected)
        assert torch.equal(Registry().tokenizer(f"local-dir:{folder}")(texts), expected)


class TestMistakes:
    def test_an_empty_shell_has_nothing_to_save(self, registry, tmp_path):
        shell = registry.create("tiny", device="meta")
        with pytest.raises(BuildError) as caught:
            registry.save(shell, tmp_path / "saved")
        assert caught.value.name in shell.state_dict()
        assert not (tmp_path / "saved").exists()

    def test_a_folder_that_is_a_file(self, registry, tmp_path):
        (tmp_path / "saved").write_text("")
        with pytest.raises(BuildError) as caught:
            registry.save(registry.create("tiny", False), tmp_path / "saved")
        assert (caught.value.name, caught.value.path) == ("tiny", tmp_path / "saved")

    def test_saving_into_the_folder_that_the_model_was_loaded_from(self, registry, tmp_path):
        folder = registry.save(moved(registry.create("tiny", False)), tmp_path / "saved")
        (folder / "tokenizer.json").write_text("{}")
        model = registry.create(f"local-dir:{folder}", mmap=True)
        assert registry.save(model, folder) == folder
        assert equal(model, registry.create(f"local-dir:{folder}"))
        assert (folder / "tokenizer.json").read_text() == "{}"
