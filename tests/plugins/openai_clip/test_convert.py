"""Checkpoints for a CLIP: other layouts, scalars, archives, half precision."""

from __future__ import annotations

import pytest
import torch

from registry_core import CheckpointError


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        ("text_model.embeddings.token_embedding.weight", "a part of transformers' CLIPModel, or a relative of it"),
        ("vision_model.embeddings.patch_embedding.weight", "a vision model of transformers"),
        ("text.token_embedding.weight", "open_clip's CustomTextCLIP (separate text tower)"),
    ],
)
def test_another_librarys_layout_is_named(registry, tmp_path, key, layout):
    torch.save({key: torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError) as caught:
        registry.create("tiny", tmp_path / "other.pt")
    assert (caught.value.name, caught.value.found) == (key, layout)


def test_the_message_names_the_layout_and_its_library(registry, tmp_path):
    torch.save({"text.token_embedding.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    message = r"layout of open_clip's CustomTextCLIP \(.*\), expected OpenAI's .*Nothing was loaded\. Load it with"
    with pytest.raises(CheckpointError, match=message):
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

    def test_a_bias_that_the_file_lacks_is_zero(self, registry, tiny_checkpoint):
        model = registry.create("tiny", tiny_checkpoint, init_logit_bias=-10.0)
        assert model.logit_bias.item() == 0.0
        assert "set to 0" in registry.report(model).adapted["logit_bias"]

    def test_the_initial_values_are_the_configs(self, registry):
        model = registry.create("tiny", False, init_logit_scale=1.5, init_logit_bias=-2.0, nonscalar_logit_scale=True)
        assert (model.logit_scale.tolist(), model.logit_bias.tolist()) == ([1.5], [-2.0])


def test_the_three_numbers_of_an_archive_are_not_parameters(registry, tiny_checkpoint, tmp_path):
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
