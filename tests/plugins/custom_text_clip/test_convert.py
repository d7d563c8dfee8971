"""Checkpoints for a CustomTextCLIP: other layouts, tower files, NumPy archives, and towers of other libraries."""

from __future__ import annotations

import json
import sys
import zipfile

import pytest
import torch

from registry_core import (
    BuildError,
    CheckpointError,
    ConfigError,
    RandomWeightsWarning,
    StateDictError,
    UnknownWeightsError,
)

TINY_CUSTOM = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 64, "heads": 2, "layers": 2},
    "custom_text": True,
}


@pytest.fixture
def zoo(registry):
    registry.add_config(TINY_CUSTOM, "tiny-custom")
    return registry


@pytest.fixture
def custom_checkpoint(zoo, tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "custom.pt"
    torch.save(zoo.create("tiny-custom", False).state_dict(), path)
    return path


def test_plain_clip_moves_its_text_layers_into_the_tower(zoo, tiny_checkpoint):
    plain, custom = zoo.create("tiny", tiny_checkpoint), zoo.create("tiny-custom", tiny_checkpoint)
    assert "text layers moved" in zoo.report(custom).kind
    text = torch.randint(1, 600, (2, 77))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain.encode_text(text), custom.encode_text(text))
        assert torch.equal(plain.encode_image(image), custom.encode_image(image))


def test_buffers_that_older_libraries_saved_are_ignored(zoo, custom_checkpoint, tmp_path):
    state = torch.load(custom_checkpoint)
    state["text.transformer.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(state, tmp_path / "old.pt")
    assert zoo.report(zoo.create("tiny-custom", tmp_path / "old.pt")).unexpected == []


def test_position_embeddings_are_resized(zoo, custom_checkpoint):
    model = zoo.create("tiny-custom", custom_checkpoint, image_size=96, context_length=40)
    assert model.text.positional_embedding.shape == (40, 64)
    assert model.visual.positional_embedding.shape == (37, 64)
    assert set(zoo.report(model).adapted) == {"visual.positional_embedding", "text.positional_embedding"}


def test_daclip_is_not_offered_over_a_separate_text_tower(zoo):
    assert "daclip_tiny-custom" not in zoo.list_models()


@pytest.mark.parametrize("tower", ["image", "text"])
def test_one_tower_alone_gives_the_same_features(zoo, custom_checkpoint, tower):
    whole, part = (
        zoo.create("tiny-custom", custom_checkpoint),
        zoo.create("tiny-custom", custom_checkpoint, tower=tower),
    )
    inputs = {"image": torch.randn(1, 3, 64, 64), "text": torch.randint(1, 600, (2, 77))}[tower]
    with torch.no_grad():
        assert torch.equal(getattr(whole, f"encode_{tower}")(inputs), getattr(part, f"encode_{tower}")(inputs))


class TestTowerFiles:
    """image_weights= and text_weights= replace parameters that pretrained= loaded."""

    def test_a_tower_from_its_own_state_dict(self, zoo, tiny_checkpoint, tmp_path):
        other = zoo.create("tiny", False)
        torch.save(other.visual.state_dict(), tmp_path / "visual.pt")
        model = zoo.create("tiny", tiny_checkpoint, image_weights=tmp_path / "visual.pt")
        assert torch.equal(model.visual.proj, other.visual.proj)
        assert torch.equal(model.text_projection, zoo.create("tiny", tiny_checkpoint).text_projection)
        assert "image tower from" in "\n".join(zoo.report(model).notes)

    def test_a_tower_from_a_whole_models_checkpoint(self, zoo, tiny_checkpoint, custom_checkpoint):
        model = zoo.create("tiny-custom", custom_checkpoint, text_weights=tiny_checkpoint)
        plain, custom = zoo.create("tiny", tiny_checkpoint), zoo.create("tiny-custom", custom_checkpoint)
        assert torch.equal(model.text.text_projection, plain.text_projection)
        assert torch.equal(model.visual.proj, custom.visual.proj)

    @pytest.mark.filterwarnings("error::registry_core.RandomWeightsWarning")
    def test_both_towers_need_no_further_weights(self, zoo, tiny_checkpoint):
        model = zoo.create("daclip_tiny", image_weights=tiny_checkpoint, text_weights=tiny_checkpoint)
        plain = zoo.create("tiny", tiny_checkpoint)
        assert torch.equal(model.visual_control.proj, plain.visual.proj)
        assert torch.equal(model.clip.text_projection, plain.text_projection)

    @pytest.mark.filterwarnings("error::registry_core.RandomWeightsWarning")
    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_the_only_tower_needs_no_further_weights(self, zoo, tiny_checkpoint, tower):
        zoo.create("tiny", tower=tower, **{f"{tower}_weights": tiny_checkpoint})

    def test_one_of_two_leaves_the_other_random(self, zoo, tiny_checkpoint):
        with pytest.warns(
            RandomWeightsWarning, match=r"tiny was created with random weights in positional_embedding, "
        ):
            zoo.create("tiny", image_weights=tiny_checkpoint)

    def test_a_path_that_does_not_exist(self, zoo):
        with pytest.raises(UnknownWeightsError) as caught:
            zoo.create("tiny", False, image_weights="nowhere.pt")
        assert caught.value.argument == "image_weights"

    def test_a_file_without_a_matching_name(self, zoo, tmp_path):
        torch.save({"somebody.else": torch.zeros(2)}, tmp_path / "else.pt")
        with pytest.raises(StateDictError) as caught:
            zoo.create("tiny", False, text_weights=tmp_path / "else.pt")
        assert (caught.value.name, caught.value.path) == ("tiny", tmp_path / "else.pt")
        assert caught.value.unexpected == ["somebody.else"]
        assert "text_projection" in caught.value.missing

    def test_a_tower_that_lacks_a_parameter(self, zoo, tmp_path):
        state = zoo.create("tiny", False).visual.state_dict()
        del state["proj"]
        torch.save(state, tmp_path / "visual.pt")
        with pytest.raises(StateDictError) as caught:
            zoo.create("tiny", False, image_weights=tmp_path / "visual.pt")
        assert len(caught.value.missing) == 1
        assert caught.value.missing[0].endswith("proj")

    def test_with_strict_false_missing_parameters_keep_their_values(self, zoo, tiny_checkpoint, tmp_path):
        state = zoo.create("tiny", False).visual.state_dict()
        torch.save({key: value for key, value in state.items() if key != "proj"}, tmp_path / "visual.pt")
        plain = zoo.create("tiny", tiny_checkpoint)
        model = zoo.create("tiny", tiny_checkpoint, strict=False, image_weights=tmp_path / "visual.pt")
        report = zoo.report(model)
        assert torch.equal(model.visual.proj, plain.visual.proj)
        assert torch.equal(model.visual.class_embedding, state["class_embedding"])
        weights = zoo.report(plain).weights
        assert f"image tower: 1 of its names keep the values from {weights}: visual.proj" in report.notes
        assert (report.missing, len(report.loaded)) == ([], len(zoo.report(plain).loaded))
        fresh = zoo.create("tiny", False, strict=False, image_weights=tmp_path / "visual.pt")
        assert zoo.report(fresh).missing == ["visual.proj"]
        assert 0 < fresh.visual.proj.std() < 1

    def test_parameters_in_them_are_not_reported_as_missing(self, zoo, tiny_checkpoint, tmp_path):
        state = {key: value.half() for key, value in zoo.create("tiny", tiny_checkpoint).state_dict().items()}
        torch.save({key: value for key, value in state.items() if not key.startswith("visual.")}, tmp_path / "text.pt")
        torch.save(state, tmp_path / "whole.pt")
        model = zoo.create("tiny", tmp_path / "text.pt", strict=False, image_weights=tmp_path / "whole.pt")
        report = zoo.report(model)
        assert (report.missing, report.misshaped) == ([], {})
        assert sorted(report.loaded) == sorted(state)
        assert report.cast == {"float16 -> float32": len(state)}


class TestNumpyArchives:
    """Arrays in .npz files are tensors by name. Only plain numbers are read."""

    def test_stored_and_compressed(self, zoo, tmp_path, tiny_checkpoint):
        np = pytest.importorskip("numpy")
        arrays = {name: tensor.numpy() for name, tensor in torch.load(tiny_checkpoint).items()}
        image = torch.randn(1, 3, 64, 64)
        expected = zoo.create("tiny", tiny_checkpoint).encode_image(image)
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "tiny.npz", **arrays)
            model = zoo.create("tiny", tmp_path / "tiny.npz")
            assert "NumPy" in zoo.report(model).format
            assert torch.equal(model.encode_image(image), expected)

    def test_python_objects_are_refused(self, zoo, tmp_path):
        np = pytest.importorskip("numpy")
        np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
        with pytest.raises(CheckpointError) as caught:
            zoo.create("tiny", tmp_path / "objects.npz")
        assert caught.value.path == tmp_path / "objects.npz"
        assert caught.value.name == "a.npy"

    def test_other_zips_say_what_they_hold(self, zoo, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("notes.json", json.dumps({}))
        with pytest.raises(CheckpointError, match=r"notes\.json") as caught:
            zoo.create("tiny", tmp_path / "other.zip")
        assert caught.value.path == tmp_path / "other.zip"


class TestTheOverrideCustomText:
    """custom_text= moves the text side of a plain CLIP into a tower, and changes the owner of the config."""

    def test_gives_the_same_features(self, zoo, tiny_checkpoint):
        plain, custom = zoo.create("tiny", tiny_checkpoint), zoo.create("tiny", tiny_checkpoint, custom_text=True)
        assert type(custom).__name__ == "CustomTextCLIP"
        assert zoo.report(custom).owner.startswith("custom_text_clip")
        text = torch.randint(1, 600, (2, 77))
        with torch.no_grad():
            assert torch.equal(plain.encode_text(text), custom.encode_text(text))

    def test_for_a_model_that_has_it_changes_nothing(self, zoo, custom_checkpoint):
        model = zoo.create("tiny-custom", custom_checkpoint, custom_text=True)
        assert zoo.report(model).owner.startswith("custom_text_clip")


class TestMissingLibraries:
    """Errors of towers from other libraries name the command that installs the library."""

    @pytest.mark.parametrize(
        ("library", "name"), [("timm", "ViT-B-16-SigLIP"), ("transformers", "xlm-roberta-base-ViT-B-32")]
    )
    def test_the_pip_command_is_given(self, registry, monkeypatch, library, name):
        extra = {"timm": "timm", "transformers": "hf"}[library]
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(BuildError) as caught:
            registry.create(name, device="meta")
        assert caught.value.name == library
        assert f"pip install 'registry_core[{extra}]'" in caught.value.advice

    def test_keys_that_describe_no_shape_are_refused(self, registry):
        text = {"hf_model_name": "mine", "hf_model_config": {"model_type": "roberta", "auto_map": {"AutoModel": "x.y"}}}
        registry.add_config({"embed_dim": 8, "vision_cfg": TINY_CUSTOM["vision_cfg"], "text_cfg": text}, "bad")
        with pytest.raises(ConfigError) as caught:
            registry.create("bad", device="meta")
        assert caught.value.found == ["auto_map"]
        assert list(caught.value.problems) == ["text_cfg.hf_model_config.auto_map"]

    def test_an_unknown_shape(self, registry):
        text = {"hf_model_name": "robert-base"}
        registry.add_config({"embed_dim": 8, "vision_cfg": TINY_CUSTOM["vision_cfg"], "text_cfg": text}, "unknown")
        message = r"'robert-base' is unknown, and nothing is downloaded .*Did you mean roberta-base"
        with pytest.raises(ConfigError, match=message) as caught:
            registry.create("unknown", device="meta")
        assert (caught.value.name, caught.value.suggestions[0]) == ("robert-base", "roberta-base")


class TestOptionsThatATimmModelRejects:
    """The error names the option and the model of timm."""

    def test_a_dropout(self, registry):
        with pytest.raises(BuildError) as caught:
            registry.create("convnext_base", device="meta", patch_dropout=0.5)
        assert (caught.value.name, caught.value.found) == ("convnext_base", ("drop_path_rate", "patch_drop_rate"))
        assert "patch_dropout" in caught.value.advice

    def test_an_image_size(self, registry):
        with pytest.raises(BuildError) as caught:
            registry.create("ViT-B-16-SigLIP", False, tower="image", image_size=8)
        assert (caught.value.name, caught.value.argument) == ("vit_base_patch16_siglip_224", "image_size")
        assert tuple(caught.value.found) == (8, 8)
