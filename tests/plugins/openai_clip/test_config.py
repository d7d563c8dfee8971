"""Names, raw configs and checkpoints that are CLIP's own, and those that are not."""

from __future__ import annotations

import pytest
import torch
from registry_plugins.openai_clip import plugin

from registry_core import CheckpointError, ConfigError, Registry, UnknownModelError


@pytest.fixture
def alone():
    """A registry of this one plugin, so that what it leaves is left."""
    registry = Registry(plugins=[])
    registry.register(plugin, "openai_clip")
    return registry


@pytest.mark.parametrize(("old", "new"), [("ViT-B/32", "ViT-B-32"), ("ViT-L/14@336px", None)])
def test_the_old_spelling_with_a_slash(registry, old, new):
    if new is None:
        with pytest.raises(UnknownModelError, match="Did you mean ViT-L-14-336"):
            registry.config(old)
    else:
        assert registry.config(old) == registry.config(new)
        model = registry.create(old, device="meta")
        assert registry.report(model).name == new
        assert registry.list_pretrained(old) == registry.list_pretrained(new) != []


@pytest.mark.parametrize("tag", ["openai", "laion2b_s34b_b79k"])
def test_the_old_spelling_finds_the_same_weights(registry, tag):
    assert str(registry.explain("ViT-B/32", tag)) == str(registry.explain("ViT-B-32", tag))


@pytest.mark.parametrize(
    ("more", "claimed"),
    [
        ({}, True),
        ({"custom_text": False}, True),
        ({"architecture": "openai_clip"}, True),
        ({"custom_text": True}, False),
        ({"multimodal_cfg": {"width": 64}}, False),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, False),
    ],
)
def test_which_raw_configs_are_its_own(alone, golden_meta, more, claimed):
    raw = {key: value for key, value in golden_meta["config"].items() if key != "custom_text"}
    if claimed:
        alone.add_config({**raw, **more}, "mine")
        assert alone.config("mine").architecture == "openai_clip"
    else:
        with pytest.raises(ConfigError, match="No plugin claims the config"):
            alone.add_config({**raw, **more}, "mine")


def test_its_word_beside_another_architectures_flag_is_refused(alone, golden_meta):
    raw = {**golden_meta["config"], "architecture": "openai_clip"}
    with pytest.raises(ConfigError, match=r"custom_text.*False.*got True"):
        alone.add_config(raw, "torn")


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        ("text_model.embeddings.token_embedding.weight", "a part of transformers' CLIPModel, or a relative of it"),
        ("vision_model.embeddings.patch_embedding.weight", "a vision model of transformers"),
        ("text.token_embedding.weight", r"open_clip's CustomTextCLIP \(separate text tower\)"),
    ],
)
def test_another_librarys_layout_is_named(registry, tmp_path, key, layout):
    torch.save({key: torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=rf"layout of {layout}, expected OpenAI's.*Nothing was loaded"):
        registry.create("tiny", tmp_path / "other.pt")


class TestScalars:
    @pytest.mark.parametrize(("held", "wanted"), [((), True), ((1,), False)])
    def test_the_logit_scale_takes_the_models_shape(self, registry, tiny_checkpoint, tmp_path, held, wanted):
        state = torch.load(tiny_checkpoint, weights_only=True)
        state["logit_scale"] = torch.full(held, 3.5)
        torch.save(state, tmp_path / "scale.pt")
        model = registry.create("tiny", tmp_path / "scale.pt", nonscalar_logit_scale=wanted)
        assert model.logit_scale.shape == ((1,) if wanted else ())
        assert model.logit_scale.item() == 3.5
        assert "shape" in registry.report(model).adapted["logit_scale"]

    def test_a_bias_that_the_file_has_not_is_zero(self, registry, tiny_checkpoint):
        model = registry.create("tiny", tiny_checkpoint, init_logit_bias=-10.0)
        assert model.logit_bias.item() == 0.0
        assert "set to 0" in registry.report(model).adapted["logit_bias"]

    def test_the_initial_values_are_the_configs(self, registry):
        model = registry.create("tiny", False, init_logit_scale=1.5, init_logit_bias=-2.0, nonscalar_logit_scale=True)
        assert (model.logit_scale.tolist(), model.logit_bias.tolist()) == ([1.5], [-2.0])


def test_the_three_numbers_of_an_archive_are_no_parameters(registry, tiny_checkpoint, tmp_path):
    state = torch.load(tiny_checkpoint, weights_only=True)
    numbers = {"input_resolution": 64, "context_length": 77, "vocab_size": 600}
    torch.save({**state, **{key: torch.tensor(value) for key, value in numbers.items()}}, tmp_path / "archive.pt")
    model = registry.create("tiny", tmp_path / "archive.pt")
    torch.testing.assert_close(dict(model.state_dict()), dict(state), atol=0, rtol=0)


def test_the_old_half_precision_files_load_as_float(registry, tiny_checkpoint, tmp_path):
    state = {name: t.half() for name, t in torch.load(tiny_checkpoint, weights_only=True).items()}
    torch.save(state, tmp_path / "half.pt")
    model = registry.create("tiny", tmp_path / "half.pt")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert registry.report(model).cast == {"float16 -> float32": len(state)}
    torch.testing.assert_close(dict(model.state_dict()), {n: t.float() for n, t in state.items()}, atol=0, rtol=0)
