"""Checkpoints for a CoCa: saving, resizing, buffers of older versions, other layouts, precision."""

from __future__ import annotations

import pytest
import torch

from registry_core import RandomWeightsWarning, StateDictError


@pytest.fixture
def path(registry, coca, config, tmp_path):
    """A checkpoint of the model `x`, which the registry knows."""
    registry.add_config(config, "x")
    torch.save(coca().state_dict(), tmp_path / "x.pt")
    return tmp_path / "x.pt"


@pytest.fixture
def given(image, text):
    return image, text


def test_what_is_saved_loads_to_the_same_outputs(registry, path, given, tokens):
    image, text = given
    model = registry.create("x", path)
    folder = registry.save(model, path.parent / "saved")
    registry.add_config(registry.config("x").raw(), "y")
    again = registry.create("y", folder / "open_clip_model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(again(image, text), model(image, text), atol=0, rtol=0)
    torch.testing.assert_close(again.generate(image, **tokens), model.generate(image, **tokens))


def test_buffers_that_older_versions_saved_are_ignored(registry, path, tmp_path):
    state = torch.load(path)
    for name in ("text.attn_mask", "text_decoder.attn_mask", "attn_mask"):
        state[name] = torch.zeros(12, 12)
    state["text.transformer.embeddings.position_ids"] = torch.arange(12)
    torch.save(state, tmp_path / "old.pt")
    torch.testing.assert_close(
        dict(registry.create("x", tmp_path / "old.pt").state_dict()), dict(registry.create("x", path).state_dict())
    )


def test_another_image_size_and_context(registry, path, text):
    model = registry.create("x", path, image_size=48, context_length=7)
    assert model.visual.positional_embedding.shape == (1 + 36, 32)
    assert model.text.positional_embedding.shape == (8, 24)  # the class token has a position too
    with torch.no_grad():
        assert model(torch.randn(3, 3, 48, 48), text[:, :7])["logits"].shape == (3, 6, 40)
    assert "text.positional_embedding" in registry.report(model).adapted


def test_a_logit_scale_of_one_element(registry, path, tmp_path):
    state = torch.load(path)
    state["logit_scale"] = state["logit_scale"].reshape(1)
    torch.save(state, tmp_path / "vector.pt")
    assert registry.create("x", tmp_path / "vector.pt").logit_scale.shape == ()


class TestTowerFiles:
    """image_weights= and text_weights= fill their tower. The decoder belongs to neither."""

    @pytest.mark.parametrize("whole", [True, False])
    def test_both(self, registry, path, tmp_path, whole):
        state = torch.load(path)
        files = {}
        for tower, prefix in (("image", "visual."), ("text", "text.")):
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            torch.save(state if whole else own, tmp_path / f"{tower}.pt")
            files[f"{tower}_weights"] = tmp_path / f"{tower}.pt"
        decoder = {key: value for key, value in state.items() if key.startswith("text_decoder.")}
        torch.save({key: value * 2 for key, value in state.items()}, tmp_path / "other.pt")
        found = registry.create("x", tmp_path / "other.pt", **files).state_dict()
        for key, value in found.items():
            twice = key in decoder or key == "logit_scale"
            torch.testing.assert_close(value, state[key] * 2 if twice else state[key], atol=0, rtol=0)

    def test_the_decoder_is_random_then(self, registry, path):
        with pytest.warns(RandomWeightsWarning, match=r"text_decoder\."):
            registry.create("x", image_weights=path, text_weights=path)


class TestPlainClip:
    """A checkpoint whose text layers are at the top level."""

    @pytest.fixture
    def plain(self, path, tmp_path):
        state = torch.load(path)
        kept = {key: value for key, value in state.items() if not key.startswith(("text_decoder.", "text.cls_emb"))}
        torch.save({key.removeprefix("text."): value for key, value in kept.items()}, tmp_path / "plain.pt")
        return tmp_path / "plain.pt"

    def test_its_text_layers_are_read(self, registry, path, plain):
        model, state = registry.create("x", plain, strict=False), torch.load(path)
        report = registry.report(model)
        assert report.kind == "CLIP, its text layers moved into a tower"
        assert {key for key in state if not key.startswith("text_decoder.")} - {*report.loaded} == {"text.cls_emb"}
        torch.testing.assert_close(model.text.text_projection, state["text.text_projection"], atol=0, rtol=0)

    def test_what_it_lacks_is_named(self, registry, plain):
        with pytest.raises(StateDictError) as caught:
            registry.create("x", plain)
        assert caught.value.missing[0] == "text.cls_emb"
        assert all(name.startswith("text_decoder.") for name in caught.value.missing[1:])
        assert len(caught.value.missing) > 1

    def test_its_tower_is_read_alone(self, registry, path, plain):
        model = registry.create("x", plain, tower="image")
        torch.testing.assert_close(model.visual.proj, torch.load(path)["visual.proj"], atol=0, rtol=0)


def test_strict_loading_names_what_is_missing(registry, path, tmp_path):
    state = {name: tensor for name, tensor in torch.load(path).items() if "text_decoder" not in name}
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(StateDictError) as caught:
        registry.create("x", tmp_path / "part.pt")
    assert {name.partition(".")[0] for name in caught.value.missing} == {"text_decoder"}


def test_parameters_come_in_the_published_order(registry, config):
    registry.add_config(config, "x")
    names = list(registry.create("x", False).state_dict())
    assert list(dict.fromkeys(name.partition(".")[0] for name in names)) == [
        "logit_scale", "text", "visual", "text_decoder",
    ]  # fmt: skip
    text = [name.split(".")[1] for name in names if name.startswith("text.")]
    assert list(dict.fromkeys(text)) == [
        "cls_emb", "positional_embedding", "text_projection", "token_embedding", "transformer", "ln_final",
    ]  # fmt: skip


@pytest.mark.parametrize(("precision", "dtype"), [
    ("bf16", torch.bfloat16), ("pure_bf16", torch.bfloat16), ("fp16", torch.float16),
])  # fmt: skip
def test_half_precision_computes_nearly_the_same_as_float(registry, path, given, precision, dtype):
    image, text = given
    tokens = {"sot_token_id": 38, "eos_token_id": 39, "seq_len": 6}
    whole, half = registry.create("x", path), registry.create("x", path, precision=precision)
    with torch.no_grad():
        expected, found = whole(image, text), half(image.to(dtype), text)
    assert found["logits"].dtype == dtype
    for name in ("image_features", "text_features"):
        torch.testing.assert_close(found[name].float(), expected[name], atol=0.05, rtol=0.05)
    close = torch.nn.functional.cosine_similarity(found["logits"].float(), expected["logits"], dim=-1)
    assert close.min() > 0.98
    assert half.generate(image.to(dtype), **tokens).shape[0] == 3
