"""Checkpoints of a small CLIP in every supported format, written by the libraries that users write them with."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2},
}
IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TEXT = torch.randint(1, 59, (2, 16), generator=torch.Generator().manual_seed(2))


class OpenAiArchive(nn.Module):
    """A CLIP with the further buffers of OpenAI's archives, and a mask that is neither parameter nor buffer."""

    def __init__(self, clip):
        super().__init__()
        for name, part in clip.named_children():
            self.add_module(name, part)
        for name, parameter in clip.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, value in {"input_resolution": 32, "context_length": 16, "vocab_size": 60}.items():
            self.register_buffer(name, torch.tensor(value))
        self.attn_mask = torch.full((16, 16), float("-inf")).triu(1)

    def forward(self, image):
        masked = self.visual(image) + self.attn_mask[0, 0].to(image.dtype)
        return masked * self.logit_scale.exp() + self.context_length * 0


def write_safetensors(model, path):
    save_file(model.state_dict(), path)


def write_torch(model, path):
    torch.save(model.state_dict(), path)


def write_legacy(model, path):
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)


def write_training(model, path):
    """Write the checkpoint of a data-parallel, compiled training run, with its optimiser."""
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer.step()
    model.load_state_dict(before)
    model.zero_grad()
    state = OrderedDict((f"module._orig_mod.{name}", tensor) for name, tensor in model.state_dict().items())
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": optimizer.state_dict()}, path)


def write_script(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torch warns that TorchScript is deprecated and that shapes are traced as constants
        archive = OpenAiArchive(model).eval()
        image = IMAGE.to(model.visual.conv1.weight.dtype)
        torch.jit.trace(archive, image, check_trace=False).save(str(path))


def write_npz(model, path):
    with path.open("wb") as stream:  # NumPy would add its suffix to a name
        np.savez(stream, **{name: tensor.numpy() for name, tensor in model.state_dict().items()})


WRITERS = {
    "npz": write_npz,
    "safetensors": write_safetensors,
    "torch": write_torch,
    "legacy": write_legacy,
    "training": write_training,
    "script": write_script,
}


@pytest.fixture
def small(registry):
    """Return the registry, with a model `small`."""
    registry.add_config(SMALL, "small")
    return registry


@pytest.fixture
def source(small):
    """Return a `small` with random values, from which checkpoints are written."""
    torch.manual_seed(3)
    return small.create("small", pretrained=False)


@pytest.fixture
def state(source):
    """Return a copy of the state dict of `source`."""
    return {name: tensor.clone() for name, tensor in source.state_dict().items()}


@pytest.fixture
def write(source, tmp_path):
    """write(kind, file name) writes a checkpoint of `source` and returns its path."""

    def written(kind: str, name: str = "checkpoint.bin", model: nn.Module | None = None) -> Path:
        path = tmp_path / name
        WRITERS[kind](source if model is None else model, path)
        return path

    return written


@pytest.fixture
def save(tmp_path):
    """save(object, file name) writes the object with torch.save and returns the path."""

    def saved(contents: object, name: str = "saved.pt", **options: object) -> Path:
        torch.save(contents, tmp_path / name, **options)
        return tmp_path / name

    return saved


@pytest.fixture
def assert_holds(state):
    """assert_holds(model) checks that every tensor of the model equals that of `state` or `expected`, to the bit."""

    def check(model: nn.Module, expected: dict[str, torch.Tensor] | None = None) -> None:
        found, wanted = model.state_dict(), state if expected is None else expected
        assert found.keys() == wanted.keys()
        wrong = [name for name in wanted if not torch.equal(found[name], wanted[name])]
        assert not wrong

    return check


@pytest.fixture
def inputs():
    """Return images and token ids for `small`."""
    return IMAGE, TEXT
