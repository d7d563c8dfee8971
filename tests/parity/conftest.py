"""Fixtures that load the same weights file into open_clip's model and into ours."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from registry_core import Registry


@pytest.fixture(scope="session", autouse=True)
def _quiet_import():
    """Import open_clip once for the process. It and the packages that it imports warn at import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("open_clip")


@torch.no_grad()
def shake(model, std=0.1):
    """Change every parameter and running statistic. Zeros and ones hide mistakes."""
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * std)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn_like(buffer) * std)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model


@pytest.fixture
def theirs():
    """Makes open_clip's model of a config in evaluation mode. Every parameter differs from its initial value."""
    import open_clip

    def make(config, std=0.1, **keys):
        torch.manual_seed(0)
        return shake(open_clip.CLIP(**copy.deepcopy(config), **keys), std).eval()

    return make


@pytest.fixture
def ours(tmp_path):
    """Makes our model of a config, with the weights of open_clip's model from a file."""

    def make(config, model, **keys):
        registry = Registry()
        name = registry.add_config(copy.deepcopy(config), "same")
        torch.save(model.state_dict(), tmp_path / "same.pt")
        return registry.create(name, tmp_path / "same.pt", **keys)

    return make
