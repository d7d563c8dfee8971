"""Fixtures to run other people's programs on the compatibility layer and on open_clip itself."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from copy import copy

import numpy as np
import pytest
import torch
from PIL import Image

import registry_core
from registry_core import Registry

VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None},
    "text_cfg": VIT["text_cfg"],
}
SIGLIP = {**VIT, "custom_text": True, "init_logit_bias": -10.0, "init_logit_scale": 2.3}
COCA = {
    "embed_dim": 64,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16,
        "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 76, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2, "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 76, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2, "attn_pooler_heads": 2,
    },
}  # fmt: skip
CONFIGS = {"little-vit": VIT, "little-resnet": RESNET, "little-sigmoid": SIGLIP, "little-coca": COCA}

# A config that is added to open_clip exists in that process only. This program adds the configs and runs another one.
THEIRS = """
import sys, runpy, open_clip
from pathlib import Path
for file in sorted(Path(sys.argv[1]).glob("*.json")):
    open_clip.add_model_config(file)
module = sys.argv[2]
sys.argv = sys.argv[2:]
runpy.run_module(module, run_name="__main__")
"""


@pytest.fixture(scope="session")
def configs(tmp_path_factory):
    """A folder of config files: little-vit, little-resnet, little-sigmoid, little-coca."""
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def known(configs, monkeypatch):
    """Add the configs to the global registry, which the layer uses. Other changes to it are undone after the test."""
    monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(configs))
    monkeypatch.setattr(registry_core.registry.services.catalog, "added", {})


@pytest.fixture(scope="module")
def theirs(configs):
    """open_clip itself, with the configs added until the end of the module."""
    open_clip = pytest.importorskip("open_clip")
    lists = open_clip.factory._MODEL_CONFIG_PATHS, open_clip.factory._MODEL_CONFIGS
    before = [copy(known) for known in lists]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in configs.glob("*.json"):
            open_clip.add_model_config(file)
    yield open_clip
    open_clip.factory._MODEL_CONFIG_PATHS, open_clip.factory._MODEL_CONFIGS = before


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder with a state dict of each model, `<name>.pt`."""
    folder = tmp_path_factory.mktemp("weights")
    fresh = Registry()
    for name, config in CONFIGS.items():
        fresh.add_config(config, name)
        torch.manual_seed(0)
        torch.save(fresh.create(name, pretrained=False).state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder with images of three classes, `<class>/<number>.png`, and captions.csv."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    rows = []
    for number, name in enumerate(("cat", "dog", "tree")):
        (folder / name).mkdir()
        for index in range(4):
            path = folder / name / f"{index}.png"
            noise = random.integers(0, 80, (40, 48, 3), dtype=np.uint8)
            noise[..., number] += 120
            Image.fromarray(noise).save(path)
            rows.append((str(path), f"image {index} of a {name}"))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *rows])
    return folder


@pytest.fixture
def run(configs, tmp_path):
    """Runs `python -m MODULE ARGUMENTS...` in a separate folder, on the layer or (`layer=False`) on open_clip."""

    def do(module, *arguments, layer=True, folder=""):
        if layer:
            command = [sys.executable, "-P", "-m", "registry_core", "run", "--config", str(configs), "-m", module]
        else:
            command = [sys.executable, "-P", "-c", THEIRS, str(configs), module]
        working_folder = tmp_path / folder
        working_folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=working_folder
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return working_folder

    return do
