"""Outputs and names of the original implementation, compared one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file


@torch.no_grad()
def outputs(model, figures):
    """All outputs that the recorded figures hold for one checkpoint, under their names."""
    image, caption, pair = figures["in.image"], figures["in.caption"], figures["in.pair"]
    features, degradation = model.encode_image(image, control=True)
    unit_features, unit_degradation = model.encode_image(image, control=True, normalize=True)
    return {
        "encode_image": model.encode_image(image),
        "encode_image_norm": model.encode_image(image, normalize=True),
        "encode_image_control": features,
        "encode_image_degra": degradation,
        "encode_image_control_norm": unit_features,
        "encode_image_degra_norm": unit_degradation,
        "encode_text": model.encode_text(caption),
        "encode_text_norm": model.encode_text(caption, normalize=True),
        **{f"forward.{key}": value for key, value in model(image, pair).items()},
        **{f"forward_image_only.{key}": value for key, value in model(image).items() if value is not None},
    }


def assert_same_figures(model, figures, route):
    expected = {name.removeprefix(f"{route}."): t for name, t in figures.items() if name.startswith(f"{route}.")}
    torch.testing.assert_close(outputs(model, figures), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("filename", ["daclip_tiny_full.pt", "daclip_tiny_full_train.pt"])
def test_a_whole_checkpoint_gives_the_originals_outputs(registry, golden, figures, filename):
    assert_same_figures(registry.create("daclip_tiny", golden / filename), figures, "full")


def test_a_plain_clip_checkpoint_gives_the_originals_outputs(base, figures):
    assert_same_figures(base, figures, "base")


@pytest.mark.parametrize("kind", ["safetensors", "training", "torchscript"])
def test_a_base_in_another_kind_of_file_gives_the_same_outputs(registry, golden, figures, tmp_path, kind):
    state = torch.load(golden / "daclip_tiny_clip.pt", weights_only=True)
    path = tmp_path / f"base.{kind}"
    match kind:
        case "safetensors":
            save_file(state, path)
        case "training":
            torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": t for k, t in state.items()}}, path)
        case "torchscript":
            torch.jit.script(nested_module(state)).save(path)
    assert_same_figures(registry.create("daclip_tiny", path), figures, "base")


def nested_module(state):
    """A module tree without code that has this state dict, like OpenAI's archives."""
    root = torch.nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, torch.nn.Parameter(tensor, requires_grad=False))
    return root


def test_trainable_names_after_a_whole_checkpoint(full, golden_meta):
    assert sorted(name for name, p in full.named_parameters() if p.requires_grad) == golden_meta["full_trainable"]
    assert all(p.requires_grad for p in full.parameters())


def test_trainable_and_frozen_names_after_a_base_checkpoint(base, golden_meta):
    names = {True: [], False: []}
    for name, parameter in base.named_parameters():
        names[parameter.requires_grad].append(name)
    assert sorted(names[True]) == golden_meta["tag_trainable"]
    assert sorted(names[False]) == golden_meta["tag_frozen"]


def test_state_dict_names_and_shapes(full, golden_meta):
    assert {name: list(tensor.shape) for name, tensor in full.state_dict().items()} == golden_meta["state_dict"]
    assert sum(p.numel() for p in full.parameters()) == golden_meta["parameters"]


def test_state_dict_order_is_the_originals(full, golden):
    """Optimiser states count parameters."""
    original = torch.load(golden / "daclip_tiny_full.pt", weights_only=True)
    assert list(full.state_dict()) == list(original)


def test_every_loaded_value_is_the_files(full, golden):
    original = torch.load(golden / "daclip_tiny_full.pt", weights_only=True)
    torch.testing.assert_close(dict(full.state_dict()), dict(original), atol=0, rtol=0)


def test_preprocessing_gives_the_originals_tensor(registry, figures):
    image = Image.fromarray(np.asarray(figures["in.raw_image"]))
    got = registry.preprocess("daclip_tiny")(image)
    torch.testing.assert_close(got, figures["in.preprocessed"], atol=1e-6, rtol=0)
