"""The functions of the compatibility layer, compared with open_clip's own on the same files."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import registry_core
from registry_core import (
    ConfigError,
    OverrideError,
    RandomWeightsWarning,
    RegistryError,
    StateDictError,
    TakenNameError,
    UnknownModelError,
    UnknownWeightsError,
)
from registry_core.compat import open_clip as layer

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("known")]


def images_and_texts(name="little-vit"):
    generator = torch.Generator().manual_seed(1)
    texts = layer.get_tokenizer(name)(["a cat", "two dogs on a beach"])
    return torch.randn(2, 3, 32, 32, generator=generator), texts


NAMES = ["little-vit", "little-resnet", "little-sigmoid", "little-coca"]


class TestModels:
    @pytest.mark.parametrize("name", NAMES)
    def test_have_the_same_outputs_in_the_same_form(self, theirs, weights, name):
        images, texts = images_and_texts(name)
        made = [
            library.create_model(name, pretrained=str(weights / f"{name}.pt"), output_dict=output_dict)
            for output_dict in (False, True)
            for library in (layer, theirs)
        ]
        with torch.no_grad():
            tuple_ours, tuple_theirs, dict_ours, dict_theirs = [model.eval()(images, texts) for model in made]
        assert type(tuple_ours) is type(tuple_theirs)
        assert isinstance(dict_ours, dict)
        assert dict_ours.keys() == dict_theirs.keys()
        for key, value in dict_theirs.items():
            torch.testing.assert_close(dict_ours[key], value, atol=2e-5, rtol=1e-5)
        if isinstance(tuple_theirs, tuple):
            for ours, there in zip(tuple_ours, tuple_theirs, strict=True):
                torch.testing.assert_close(ours, there, atol=2e-5, rtol=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_are_in_training_mode_and_of_the_named_class(self, theirs, weights, name):
        ours, there = (lib.create_model(name, str(weights / f"{name}.pt")) for lib in (layer, theirs))
        assert ours.training == there.training is True
        assert isinstance(ours, getattr(layer, type(there).__name__))
        assert ours.state_dict().keys() == there.state_dict().keys()
        assert layer.get_model_tokenize_cfg(ours) == theirs.get_model_tokenize_cfg(there)
        found, expected = layer.get_model_preprocess_cfg(ours), theirs.get_model_preprocess_cfg(there)
        assert {**found, "size": None} == {**expected, "size": None}
        assert ours.visual.image_mean == there.visual.image_mean

    def test_forced_values_are_used(self, weights):
        model = layer.create_model(
            "little-vit",
            str(weights / "little-vit.pt"),
            force_image_size=48,
            force_quick_gelu=True,
            force_patch_dropout=0.5,
            force_context_length=20,
            force_preprocess_cfg={"mean": (0.5, 0.5, 0.5), "interpolation": None},
        )
        config = registry_core.registry.report(model).config
        assert (config.image_size, config.quick_gelu, config.text_cfg.context_length) == ((48, 48), True, 20)
        assert config.vision_cfg.patch_dropout == 0.5
        assert model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)
        assert model.visual.preprocess_cfg["size"] == (48, 48)

    def test_force_custom_text(self, theirs):
        model = layer.create_model("little-vit", load_weights=False, force_custom_text=True)
        assert isinstance(model, layer.CustomTextCLIP)
        assert (
            model.state_dict().keys() == theirs.create_model("little-vit", force_custom_text=True).state_dict().keys()
        )

    def test_config_keys_of_the_training_program(self):
        import numpy as np

        model = layer.create_model(
            "little-vit", load_weights=False, init_logit_scale=np.log(10), init_logit_bias=-10, cast_dtype=None
        )
        assert model.logit_bias.item() == -10
        assert model.logit_scale.item() == pytest.approx(np.log(10))

    def test_a_tower_from_a_file(self, weights, tmp_path):
        state = torch.load(weights / "little-sigmoid.pt", weights_only=True)
        image = {key.removeprefix("visual."): value + 1 for key, value in state.items() if key.startswith("visual.")}
        torch.save(image, tmp_path / "image.pt")
        model = layer.create_model(
            "little-sigmoid", str(weights / "little-sigmoid.pt"), pretrained_image_path=str(tmp_path / "image.pt")
        )
        assert torch.equal(model.visual.proj, state["visual.proj"] + 1)
        assert torch.equal(model.text.text_projection, state["text.text_projection"])

    def test_half_precision(self, theirs, weights):
        ours, there = (
            lib.create_model("little-vit", str(weights / "little-vit.pt"), precision="bf16") for lib in (layer, theirs)
        )
        assert {k: v.dtype for k, v in ours.state_dict().items()} == {k: v.dtype for k, v in there.state_dict().items()}
        again = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        layer.convert_weights_to_lp(again, torch.bfloat16)
        assert {k: v.dtype for k, v in again.state_dict().items()} == {
            k: v.dtype for k, v in there.state_dict().items()
        }

    def test_a_folder_has_its_own_weights_and_transform(self, weights, tmp_path):
        made = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        registry_core.registry.save(made, tmp_path / "saved")
        model, transform = layer.create_model_from_pretrained(f"local-dir:{tmp_path / 'saved'}")
        assert torch.equal(model.logit_scale, made.logit_scale)
        assert transform.transforms[0].size == 32
        assert layer.get_model_config(f"local-dir:{tmp_path / 'saved'}")["embed_dim"] == 32


class TestErrors:
    def test_random_weights_cause_a_warning(self):
        with pytest.warns(RandomWeightsWarning):
            layer.create_model("little-vit", pretrained="")

    def test_required_weights(self):
        with pytest.raises(
            UnknownWeightsError, match=r"little-vit must have weights here, and pretrained=None"
        ) as caught:
            layer.create_model_from_pretrained("little-vit")
        assert (caught.value.name, caught.value.argument) == ("little-vit", "pretrained")

    def test_weights_by_a_path_object_on_no_device_in_particular(self, theirs, weights):
        path = weights / "little-vit.pt"
        ours, there = (lib.create_model("little-vit", path, device=None) for lib in (layer, theirs))
        assert torch.equal(ours.visual.proj, there.visual.proj)
        with pytest.raises(OverrideError) as caught:
            layer.create_model("little-vit", 5)
        assert (caught.value.argument, caught.value.found) == ("pretrained", 5)

    def test_an_unknown_tag(self):
        with pytest.raises(UnknownWeightsError) as caught:
            layer.create_model("ViT-B-32", "opnai")
        assert "openai" in caught.value.suggestions

    def test_an_unknown_model(self):
        with pytest.raises(UnknownModelError) as caught:
            layer.create_model("ViT-B-33")
        assert caught.value.name == "ViT-B-33"
        assert caught.value.suggestions

    def test_a_tokenizer_of_an_unknown_model(self):
        with pytest.raises(UnknownModelError) as caught:
            layer.get_tokenizer("ViT-B-33")
        assert caught.value.name == "ViT-B-33"

    def test_weights_of_timm(self):
        with pytest.raises(OverrideError, match=r"pretrained_image=True asks for timm's own .* pretrained_image_path"):
            layer.create_model("convnext_base", pretrained_image=True)

    def test_a_tower_file_that_does_not_exist(self):
        with pytest.raises(UnknownWeightsError) as caught:
            layer.create_model("little-vit", load_weights=False, pretrained_image_path="nowhere.pt")
        assert caught.value.argument == "image_weights"

    def test_jit_causes_a_warning(self):
        with pytest.warns(UserWarning, match=r"jit=True has no effect.*torch\.compile"):
            layer.create_model("little-vit", load_weights=False, jit=True)

    def test_a_config_with_a_taken_name(self, tmp_path, configs):
        shutil.copy(configs / "little-vit.json", tmp_path / "RN50.json")
        with pytest.raises(TakenNameError) as caught:
            layer.add_model_config(tmp_path / "RN50.json")
        assert caught.value.name == "RN50"

    def test_a_config_without_a_text_tower(self, tmp_path):
        (tmp_path / "half.json").write_text(json.dumps({"embed_dim": 8, "vision_cfg": {}}))
        with pytest.raises(ConfigError) as caught:
            layer.add_model_config(tmp_path / "half.json")
        assert "text_cfg" in caught.value.problems

    def test_another_vocabulary(self):
        with pytest.raises(OverrideError, match=r"bpe_path='mine\.gz': this tokenizer supports CLIP's merges only"):
            layer.SimpleTokenizer("mine.gz")

    def test_another_dtype(self, weights):
        model = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        with pytest.raises(OverrideError, match=r"dtype=torch\.float64: expected torch\.float16 or torch\.bfloat16"):
            layer.convert_weights_to_lp(model, torch.float64)

    def test_horovod(self):
        arguments = SimpleNamespace(model="little-vit", horovod=True)
        with pytest.raises(OverrideError, match=r"The losses do not support horovod\. No loss was made.*torchrun"):
            layer.create_loss(arguments)

    def test_a_path_to_openais_loader(self, weights):
        with pytest.raises(OverrideError, match=r"a file does not state which model it is for.*create_model\("):
            layer.load_openai_model(str(weights / "little-vit.pt"))

    def test_a_card_or_pickles_for_the_hub(self, weights):
        model = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        for options in ({"model_card": {"license": "mit"}}, {"safe_serialization": False}):
            with pytest.raises(OverrideError, match=r"model_card= and safe_serialization=False are not supp") as caught:
                layer.push_to_hf_hub(model, None, None, "org/repo", **options)
            assert caught.value.argument == next(iter(options))


class TestTransforms:
    def test_equal_open_clips(self, theirs, weights, images):
        path = str(weights / "little-vit.pt")
        ours, there = (lib.create_model_and_transforms("little-vit", path) for lib in (layer, theirs))
        image = Image.open(images / "cat" / "0.png")
        torch.testing.assert_close(ours[2](image), there[2](image), atol=1e-6, rtol=0)
        outcomes = []
        for transform in (ours[1], there[1]):
            torch.manual_seed(3)
            outcomes.append(transform(image))
        torch.testing.assert_close(*outcomes, atol=1e-6, rtol=0)

    def test_are_lists_of_steps_that_can_be_changed(self, weights, images):
        _, transform = layer.create_model_from_pretrained("little-vit", str(weights / "little-vit.pt"))
        image = Image.open(images / "cat" / "0.png")
        normalised = transform(image)
        normalize = transform.transforms.pop()
        plain = transform(image)
        assert 0 <= plain.min() <= plain.max() <= 1
        torch.testing.assert_close(normalize(plain), normalised)

    def test_preprocessing_from_the_caller(self, weights):
        model, train, _ = layer.create_model_and_transforms(
            "little-vit",
            str(weights / "little-vit.pt"),
            image_mean=(0.5, 0.5, 0.5),
            image_resize_mode="longest",
            aug_cfg=layer.AugmentationCfg(scale=(0.5, 1.0)),
        )
        assert train.transforms[0].scale == (0.5, 1.0)
        assert train.transforms[-1].mean == (0.5, 0.5, 0.5)
        assert model.visual.preprocess_cfg["resize_mode"] == "longest"

    @pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
    @pytest.mark.parametrize("size", [32, (24, 40)])
    def test_image_transform(self, theirs, images, resize_mode, size):
        image = Image.open(images / "dog" / "1.png")
        options = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2), "resize_mode": resize_mode, "fill_color": 9}
        ours, there = (lib.image_transform(size, False, **options) for lib in (layer, theirs))
        torch.testing.assert_close(ours(image), there(image), atol=1e-6, rtol=0)

    def test_v2_takes_the_dataclass(self, theirs, images):
        from registry_core.compat.open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_kwargs

        assert PreprocessCfg().input_size == theirs.transform.PreprocessCfg().input_size == (3, 224, 224)
        image = Image.open(images / "dog" / "1.png")
        ours = image_transform_v2(PreprocessCfg(size=32, interpolation="bilinear"), is_train=False)
        there = theirs.transform.image_transform_v2(
            theirs.transform.PreprocessCfg(size=32, interpolation="bilinear"), is_train=False
        )
        torch.testing.assert_close(ours(image), there(image), atol=1e-6, rtol=0)
        given = ({"size": 8, "url": "x"}, {"mean": None, "std": 2, "y": 3})
        assert merge_preprocess_kwargs(given[0], **given[1]) == theirs.transform.merge_preprocess_kwargs(
            given[0], **given[1]
        )

    def test_one_number_is_for_every_channel(self, theirs, weights, images):
        image = Image.open(images / "dog" / "1.png")
        ours, there = (lib.image_transform(32, False, mean=0.5, std=0.25)(image) for lib in (layer, theirs))
        assert torch.equal(ours, there)
        path = str(weights / "little-vit.pt")
        ours, there = (
            lib.create_model_from_pretrained("little-vit", path, image_mean=0.5, image_std=0.25)[1](image)
            for lib in (layer, theirs)
        )
        assert torch.equal(ours, there)

    def test_wrong_arguments_are_refused(self):
        with pytest.raises(OverrideError) as caught:
            layer.image_transform(224, is_train=False, resize_mode="stretch")
        assert list(caught.value.problems) == ["resize_mode"]
        with pytest.raises(OverrideError) as caught:
            layer.image_transform(224, is_train=True, aug_cfg=["scale"])
        assert (caught.value.argument, caught.value.found) == ("augmentation", ["scale"])
        with pytest.raises(OverrideError, match="mode='L': all models take 'RGB' images"):
            layer.PreprocessCfg(mode="L")


class TestTables:
    def test_every_config_is_open_clips(self, theirs):
        for name in theirs.list_models():
            if name.startswith("little-"):
                continue
            ours, there = layer.get_model_config(name), theirs.get_model_config(name)
            assert ours["embed_dim"] == there["embed_dim"], name
            for side in ("vision_cfg", "text_cfg"):
                same = {key: value for key, value in there[side].items() if key in ours[side]}
                assert {key: ours[side][key] for key in same} == same, name
        assert layer.get_model_config("no-such-model") is None
        assert layer.get_model_config("ViT-B/32") == layer.get_model_config("ViT-B-32")

    def test_every_tag_is_open_clips(self, theirs):
        pairs = theirs.list_pretrained()
        assert set(pairs) <= set(layer.list_pretrained())
        for model, tag in pairs:
            ours, there = layer.get_pretrained_cfg(model, tag), theirs.get_pretrained_cfg(model, tag)
            for key in ("url", "mean", "std", "interpolation", "resize_mode"):
                if there.get(key):
                    assert ours.get(key, () if key in {"mean", "std"} else "") in (there[key], list(there[key])), key
            assert ours.get("hf_hub", "").strip("/").split("/")[:2] == there.get("hf_hub", "").strip("/").split("/")[:2]
            assert layer.get_pretrained_url(model, tag) == theirs.get_pretrained_url(model, tag)

    def test_tags_may_have_the_spelling_of_papers(self, theirs):
        for library in (layer, theirs):
            assert library.is_pretrained_cfg("ViT-B-32", "LAION2B-s34B-b79K")
            assert not library.is_pretrained_cfg("ViT-B-32", "nothing")
            assert not library.is_pretrained_cfg("nothing", "openai")
            assert library.get_pretrained_cfg("nothing", "openai") == {}
            assert library.list_pretrained_tags_by_model("nothing") == []
        assert set(layer.list_pretrained_tags_by_model("RN50")) == set(theirs.list_pretrained_tags_by_model("RN50"))
        assert set(theirs.list_pretrained_models_by_tag("OpenAI")) <= set(layer.list_pretrained_models_by_tag("OpenAI"))
        assert set(layer.list_openai_models()) == set(theirs.list_openai_models())
        assert "RN50:openai" in layer.list_pretrained(as_str=True)

    def test_a_folder_of_configs(self, tmp_path, configs):
        for name in ("one", "two"):
            shutil.copy(configs / "little-vit.json", tmp_path / f"{name}.json")
        (tmp_path / "package.json").write_text('{"name": "not a config"}')
        layer.add_model_config(tmp_path)
        layer.add_model_config(str(tmp_path))  # a notebook's cell, run twice
        assert {"one", "two", "daclip_one"} <= set(layer.list_models())
        assert "package" not in layer.list_models()
        with pytest.raises(ConfigError) as caught:
            layer.add_model_config("nowhere.json")
        assert (caught.value.argument, caught.value.path.name) == ("add_model_config", "nowhere.json")


class TestTokenizers:
    TEXTS = ("a photo of a cat", "Größe &amp; more", "x" * 400)

    def test_equal_open_clips(self, theirs):
        for ours, there in (
            (layer.tokenize, theirs.tokenize),
            (layer.get_tokenizer("ViT-B-32"), theirs.get_tokenizer("ViT-B-32")),
            (layer.get_tokenizer(""), theirs.get_tokenizer("")),
            (
                layer.get_tokenizer("little-coca", context_length=9),
                theirs.get_tokenizer("little-coca", context_length=9),
            ),
            (layer.SimpleTokenizer(clean="whitespace"), theirs.SimpleTokenizer(clean="whitespace")),
        ):
            assert torch.equal(ours(list(self.TEXTS)), there(list(self.TEXTS)))

    def test_options_may_be_a_tuple_and_none(self, theirs):
        for lib in (layer, theirs):
            made = lib.SimpleTokenizer(additional_special_tokens=("<m>",), reduction_mask=None)
            assert made.encode("a <m>") == [320, 49408]

    def test_have_what_programs_read(self, theirs):
        ours, there = layer.get_tokenizer("ViT-B-32"), theirs.get_tokenizer("ViT-B-32")
        assert isinstance(ours, layer.SimpleTokenizer)
        for name in (
            "vocab_size",
            "sot_token_id",
            "eot_token_id",
            "all_special_ids",
            "context_length",
            "encoder",
            "decoder",
        ):
            assert getattr(ours, name) == getattr(there, name), name
        assert ours.encode("two dogs") == there.encode("two dogs")
        ids = layer.tokenize("two dogs")[0][:4]
        assert layer.decode(ids) == theirs.decode(ids)
        from registry_core.compat.open_clip.tokenizer import _tokenizer

        assert _tokenizer.encode("a") == there.encode("a")

    def test_of_transformers(self, theirs, tmp_path):
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Whitespace
        from transformers import PreTrainedTokenizerFast

        words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3}
        made = Tokenizer(WordLevel(words, "[UNK]"))
        made.pre_tokenizer = Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)  # noqa: S106
        from registry_core.compat.open_clip.tokenizer import HFTokenizer

        ours = HFTokenizer(str(tmp_path), context_length=5, clean="lower")
        there = theirs.tokenizer.HFTokenizer(str(tmp_path), context_length=5, clean="lower")
        assert torch.equal(ours(["A cat", "dog"]), there(["A cat", "dog"]))
        ours.save_pretrained(tmp_path / "again")
        assert HFTokenizer(tmp_path / "again").encode("cat") == [3]
        with pytest.raises(OverrideError, match="tokenizer_mode='clip': expected 'clips' or no mode"):
            HFTokenizer(tmp_path, tokenizer_mode="clip")
        of_a_name = layer.get_tokenizer("ViT-B-16-SigLIP", hf_tokenizer_name=str(tmp_path))
        assert isinstance(of_a_name, HFTokenizer)
        assert of_a_name.encode("cat") == [3]
        with pytest.raises(ConfigError) as caught:
            of_a_name.set_language("fra_Latn")
        assert (caught.value.argument, caught.value.found) == ("language", "fra_Latn")

    def test_of_transformers_can_be_set_to_a_language(self, tmp_path):
        from transformers import NllbTokenizer

        from registry_core.compat.open_clip.tokenizer import HFTokenizer

        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "eng_Latn", "fra_Latn", "\u2581", "a"]
        vocabulary = {token: index for index, token in enumerate(special)}
        NllbTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
        tokenizer = HFTokenizer(tmp_path, 6, language="eng_Latn")
        assert tokenizer("a")[0, 0] == vocabulary["eng_Latn"]
        tokenizer.set_language("fra_Latn")
        assert tokenizer(["a", "a"])[:, 0].tolist() == [vocabulary["fra_Latn"]] * 2


class TestTheRest:
    def test_dtypes(self, theirs):
        for precision in ("fp32", "fp16", "bf16", "pure_fp16", "pure_bf16", "amp", "amp_bf16"):
            assert layer.get_cast_dtype(precision) is theirs.get_cast_dtype(precision)
            assert layer.get_input_dtype(precision) is theirs.get_input_dtype(precision)

    def test_load_checkpoint(self, theirs, weights, tmp_path):
        for library in (layer, theirs):
            model = library.create_model("little-vit", load_weights=False)
            found = library.load_checkpoint(model, str(weights / "little-vit.pt"))
            assert (found.missing_keys, found.unexpected_keys) == ([], [])
            state = torch.load(weights / "little-vit.pt", weights_only=True)
            assert torch.equal(model.text_projection, state["text_projection"])
            state["extra"] = state.pop("ln_final.bias")
            torch.save(state, tmp_path / "odd.pt")
            found = library.load_checkpoint(model, str(tmp_path / "odd.pt"), strict=False)
            assert (found.missing_keys, found.unexpected_keys) == (["ln_final.bias"], ["extra"])
            with pytest.raises((StateDictError, RuntimeError), match="extra"):
                library.load_checkpoint(model, str(tmp_path / "odd.pt"))

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
    def test_trace_model(self, weights):
        model = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        traced = layer.trace_model(model, batch_size=2)
        images, texts = images_and_texts()
        with torch.no_grad():
            torch.testing.assert_close(traced.encode_image(images), model.encode_image(images))
            torch.testing.assert_close(traced.encode_text(texts), model.encode_text(texts))
        assert traced.visual.image_size == (32, 32)

    def test_zero_shot_classifiers(self, theirs, weights):
        ours, there = (lib.create_model("little-vit", str(weights / "little-vit.pt")).eval() for lib in (layer, theirs))
        arguments = (layer.get_tokenizer("little-vit"), ("cat", "dog", "tree"), ("a {}.", "the {}."))
        for name in ("build_zero_shot_classifier", "build_zero_shot_classifier_legacy"):
            found = getattr(layer, name)(ours, *arguments)
            torch.testing.assert_close(found, getattr(theirs, name)(there, *arguments), atol=1e-6, rtol=1e-5)

    def test_download_pretrained(self, tmp_path):
        assert layer.download_pretrained({}) == layer.download_pretrained(None) == ""
        assert layer.download_pretrained({"file": "here.pt"}) == "here.pt"
        with pytest.raises(UnknownWeightsError, match=r"hf_hub='mine': expected 'org/repo/file' or 'org/repo/'"):
            layer.download_pretrained({"hf_hub": "mine"}, cache_dir=str(tmp_path))

    def test_the_config_of_an_unknown_model(self, theirs, tmp_path):
        for name in ("nothing-of-the-kind", ""):
            assert layer.get_model_config(name) is theirs.get_model_config(name) is None
        with pytest.raises(UnknownModelError) as caught:
            layer.get_model_config(f"local-dir:{tmp_path / 'gone'}")
        assert caught.value.name == f"local-dir:{tmp_path / 'gone'}"

    def test_storing_incomplete_preprocessing(self, weights):
        model = layer.create_model("little-vit", str(weights / "little-vit.pt"))
        with pytest.raises(OverrideError, match=r"preprocess_cfg lacks mean and std\. The model was not changed"):
            layer.set_model_preprocess_cfg(model, {})

    def test_a_model_that_no_registry_made(self, weights):
        with pytest.raises(RegistryError):
            layer.load_checkpoint(torch.nn.Linear(2, 2), str(weights / "little-vit.pt"))
