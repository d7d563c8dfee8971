"""registry.tokenizer: the tokenizer of a model, by its config, the caller's overrides and plugins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from registry_core import (
    ConfigError,
    FetchError,
    InputError,
    ModelConfig,
    OverrideError,
    PluginError,
    Registry,
    UnknownModelError,
    hookimpl,
)
from registry_core.tokenizers.clip_bpe import ClipTokenizer
from registry_core.tokenizers.huggingface import HFTokenizer

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}

SPARE = {"embed_dim": 16, "vision_cfg": {"image_size": 32}, "text_cfg": {"vocab_size": 600}}


def tiny(**text):
    return {**TINY, "text_cfg": {**TINY["text_cfg"], **text}}


@pytest.fixture
def registry():
    fresh = Registry()
    fresh.add_config(TINY, "words")
    fresh.add_config(tiny(vocab_size=600), "small")
    return fresh


class TestChoice:
    def test_a_mistyped_name_is_an_error(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.tokenizer("ViT-B-23")
        assert caught.value.name == "ViT-B-23"
        assert "ViT-B-32" in caught.value.suggestions

    def test_old_and_new_spelling_have_the_same_tokenizer(self, registry, word_pieces):
        config = tiny(hf_tokenizer_name=word_pieces, tokenizer_kwargs={"clean": "canonicalize"}, vocab_size=32000)
        registry.add_config(config, "ViT-T-16-SigLIP-like")
        tokenizers = [registry.tokenizer(name) for name in ("ViT-T/16-SigLIP-like", "ViT-T-16-SigLIP-like")]
        assert [type(tokenizer) for tokenizer in tokenizers] == [HFTokenizer] * 2
        assert repr(tokenizers[0]) == repr(tokenizers[1])

    def test_both_spellings_of_siglip_ask_for_siglips_files(self, registry, tmp_path):
        for name in ("ViT-B/16-SigLIP", "ViT-B-16-SigLIP"):
            with pytest.raises(FetchError) as caught:
                registry.tokenizer(name, cache_dir=tmp_path)
            assert caught.value.name == "timm/ViT-B-16-SigLIP"

    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")

    def test_siglip_takes_its_tokenizer_from_a_folder(self, registry, sentence_pieces):
        tokenizer = registry.tokenizer("ViT-B/16-SigLIP", hf_tokenizer_name=sentence_pieces)
        assert tokenizer("A Photo").shape == (1, 64)
        assert torch.equal(tokenizer("A Photo!"), tokenizer("a photo"))
        by_path = registry.tokenizer("ViT-B/16-SigLIP", hf_tokenizer_name=Path(sentence_pieces))
        assert torch.equal(by_path("A Photo"), tokenizer("A Photo"))

    @pytest.mark.parametrize(
        ("name", "length"),
        [("ViT-B-32", 77), ("RN50", 77), ("daclip_ViT-B-32", 77), ("PE-Core-B-16", 32), ("words", 20)],
    )
    def test_the_context_length_is_that_of_the_config(self, registry, name, length):
        if name not in registry.list_models():
            pytest.skip(f"no plugin provides {name}")
        tokenizer = registry.tokenizer(name)
        assert isinstance(tokenizer, ClipTokenizer)
        assert tokenizer(["a cat", "two cats"]).shape == (2, length)

    def test_a_created_model_has_the_tokenizer_of_its_own_config(self, registry):
        model = registry.create("words", pretrained=False, context_length=9)
        ids = registry.tokenizer(model)("a cat")
        assert ids.shape == (1, 9)
        assert model.encode_text(ids).shape == (1, 16)

    def test_a_da_clip_is_fed_with_caption_and_degradation(self, registry):
        model = registry.create("daclip_words", pretrained=False)
        tokenizer = registry.tokenizer(model)
        text = torch.cat([tokenizer("a street"), tokenizer("rainy")], dim=-1)
        assert model(text=text)["text_degra_features"].shape == (1, 16)


class TestOverrides:
    def test_options_come_from_the_config_and_then_from_the_caller(self, registry):
        registry.add_config(tiny(tokenizer_kwargs={"clean": "canonicalize"}), "canonical")
        assert registry.tokenizer("canonical").options.clean == "canonicalize"
        tokenizer = registry.tokenizer("canonical", clean="whitespace", reduction_mask="random", context_length=7)
        assert tokenizer.options.clean == "whitespace"
        assert tokenizer.options.reduction_mask == "random"
        assert tokenizer("a").shape == (1, 7)

    def test_an_unknown_option_is_refused(self, registry):
        with pytest.raises(
            OverrideError, match=r"contex_length= is not an option of .* Did you mean context_l"
        ) as caught:
            registry.tokenizer("words", contex_length=5)
        assert caught.value.argument == "contex_length"
        assert caught.value.suggestions[0] == "context_length"

    @pytest.mark.parametrize(
        ("override", "key"),
        [
            ({"clean": "upper"}, "clean"),
            ({"strip_sep_token": True}, "strip_sep_token"),
            ({"context_length": 0}, "text_cfg.context_length"),
        ],
    )
    def test_a_wrong_value_is_refused(self, registry, override, key):
        with pytest.raises(ConfigError) as caught:
            registry.tokenizer("words", **override)
        assert list(caught.value.problems) == [key]

    def test_an_unknown_mode_is_refused(self, registry):
        with pytest.raises(ConfigError, match=r"text_cfg\.tokenizer_mode='clip': expected 'clips'"):
            registry.tokenizer("words", tokenizer_mode="clip")

    @pytest.mark.parametrize("key", ["trust_remote_code", "auto_map", "token", "proxies"])
    def test_nothing_but_listed_keys_gets_through_to_transformers(self, registry, word_pieces, key):
        registry.add_config(tiny(hf_tokenizer_name=word_pieces, tokenizer_kwargs={key: True}), "greedy")
        with pytest.raises(ConfigError) as caught:
            registry.tokenizer("greedy")
        assert list(caught.value.problems) == [key]
        assert caught.value.problems[key].startswith("unknown key")


class TestVocabulary:
    def test_ids_beyond_the_models_vocabulary_are_refused_by_its_tokenizer(self, registry):
        tokenizer = registry.tokenizer("small")
        with pytest.raises(InputError) as caught:
            tokenizer("a cat")
        assert (caught.value.expected, caught.value.found) == ("ids from 0 to 599", 49407)

    @pytest.mark.parametrize("name", ["small", "daclip_small"])
    @pytest.mark.parametrize("wrong", [600, 49407, -1])
    def test_ids_beyond_the_models_vocabulary_are_refused_by_the_model(self, registry, name, wrong):
        model = registry.create(name, pretrained=False)
        ids = torch.ones(2, 20, dtype=torch.int64)
        assert model.encode_text(ids).shape == (2, 16)
        ids[1, 3] = wrong
        with pytest.raises(InputError, match=r"from 0 to 599 \(vocab_size=600\), got ids from (-1|1) to") as caught:
            model.encode_text(ids)
        assert (caught.value.expected, caught.value.found) == ((0, 599), (min(1, wrong), max(1, wrong)))

    def test_ids_of_another_type_are_refused(self, registry):
        model = registry.create("small", pretrained=False)
        with pytest.raises(InputError) as caught:
            model.encode_text(torch.ones(2, 20))
        assert (caught.value.argument, caught.value.found) == ("text", torch.float32)

    def test_the_check_leaves_compiled_and_exported_graphs_whole(self, registry):
        model = registry.create("small", pretrained=False)
        ids = torch.randint(0, 600, (2, 20))
        expected = model.encode_text(ids)
        compiled = torch.compile(model.encode_text, backend="eager", fullgraph=True)
        assert torch.equal(compiled(ids), expected)

        class Text(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, text):
                return self.model.encode_text(text)

        exported = torch.export.export(Text(), (ids,)).module()
        assert torch.allclose(exported(ids), expected, atol=1e-6)

    def test_an_empty_shell_takes_ids_without_looking_at_them(self, registry):
        shell = registry.create("small", device="meta")
        assert shell.encode_text(torch.empty(2, 20, dtype=torch.int64, device="meta")).shape == (2, 16)


class TestPlugins:
    def test_the_owner_of_a_config_may_provide_a_tokenizer(self):
        class Letters:
            """Claims configs with its architecture, and counts letters."""

            @hookimpl
            def resolve_config(self, name, raw):
                return LettersConfig.parse(raw, name) if raw and raw.get("architecture") == "letters" else None

            @hookimpl
            def build_tokenizer(self, config):
                return lambda texts: torch.tensor([[len(text), config.embed_dim] for text in texts])

        class LettersConfig(ModelConfig):
            architecture: ClassVar[str] = "letters"

        registry = Registry()
        registry.register(Letters(), "letters")
        registry.add_config({**SPARE, "architecture": "letters"}, "alphabet")
        assert registry.tokenizer("alphabet")(["abc"]).tolist() == [[3, 16]]

    def test_a_tokenizer_that_cannot_be_called_is_an_error_of_the_plugin(self):
        class OddConfig(ModelConfig):
            architecture: ClassVar[str] = "odd"

        class Odd:
            @hookimpl
            def resolve_config(self, name, raw):
                return OddConfig.parse(raw, name) if raw and raw.get("architecture") == "odd" else None

            @hookimpl
            def build_tokenizer(self):
                return 3

        registry = Registry()
        registry.register(Odd(), "odd")
        registry.add_config({**SPARE, "architecture": "odd"}, "strange")
        with pytest.raises(PluginError) as caught:
            registry.tokenizer("strange")
        assert (caught.value.plugin, caught.value.hook) == ("odd", "build_tokenizer")


class TestSave:
    def test_the_options_of_clips_tokenizer_are_saved(self, registry, tmp_path):
        registry.add_config(tiny(tokenizer_kwargs={"clean": "canonicalize"}), "canonical")
        model = registry.create("canonical", pretrained=False, context_length=11)
        registry.save(model, tmp_path / "saved")
        again = Registry().tokenizer(f"local-dir:{tmp_path / 'saved'}")
        assert repr(again) == repr(registry.tokenizer(model))
        assert again.options.clean == "canonicalize"
        assert again("x").shape == (1, 11)

    def test_the_files_of_a_hugging_face_tokenizer_are_saved(self, registry, word_pieces, tmp_path):
        source = tmp_path / "tokenizer"
        shutil.copytree(word_pieces, source)
        registry.add_config(tiny(hf_tokenizer_name=str(source), vocab_size=1000), "pieces")
        model = registry.create("pieces", pretrained=False)
        expected = registry.tokenizer(model)("a photo of the cat")
        first, second = tmp_path / "first", tmp_path / "second"
        registry.save(model, first)
        shutil.rmtree(source)
        loaded = Registry().create(f"local-dir:{first}")
        registry.save(loaded, second)
        shutil.rmtree(first)
        again = Registry().tokenizer(f"local-dir:{second}")
        assert again.source == str(second)
        assert torch.equal(again("a photo of the cat"), expected)

    def test_the_saved_config_names_the_tokenizer(self, registry, word_pieces, tmp_path):
        registry.add_config(tiny(hf_tokenizer_name=word_pieces, tokenizer_mode="clips", vocab_size=1000), "pieces")
        registry.save(registry.create("pieces", pretrained=False), tmp_path)
        text = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
        assert text["hf_tokenizer_name"] == word_pieces
        assert text["tokenizer_mode"] == "clips"
