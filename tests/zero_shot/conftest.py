"""Small models with CLIP's real vocabulary, image files, and a plugin with aspects of its own."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch
from PIL import Image

from registry_core import Registry, hookimpl

SMALL_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CONFIGS = {
    "small_clip": SMALL_CLIP,
    "small_siglip": {**SMALL_CLIP, "custom_text": True, "init_logit_bias": -1.0, "init_logit_scale": 1.0},
}


@pytest.fixture(scope="session")
def configs():
    """Model name -> raw config."""
    return CONFIGS


@pytest.fixture(scope="module")
def registry():
    """A registry with `small_clip` (and so `daclip_small_clip`) and `small_siglip`."""
    fresh = Registry()
    for name, raw in CONFIGS.items():
        fresh.add_config(raw, name)
    return fresh


@pytest.fixture
def make(registry):
    """make(name, **options) -> a model with random parameters, the same each time."""

    def make(name="small_clip", **options):
        torch.manual_seed(0)
        return registry.create(name, pretrained=False, **options)

    return make


@pytest.fixture
def images(tmp_path):
    """Ten image files of noise."""
    torch.manual_seed(1)
    paths = []
    for index in range(10):
        values = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy()
        paths.append(tmp_path / f"noise-{index}.png")
        Image.fromarray(values).save(paths[-1])
    return paths


@pytest.fixture
def damaged(tmp_path):
    """A folder with five files that cannot be classified: text, empty, cut, with a wrong checksum, and of mode F."""
    cat = (Path(__file__).parents[2] / "examples" / "first_model" / "cat.jpg").read_bytes()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(cat[:9000])
    Image.new("L", (40, 40)).save(tmp_path / "crc.png")
    data = bytearray((tmp_path / "crc.png").read_bytes())
    data[50] ^= 255
    (tmp_path / "crc.png").write_bytes(data)
    Image.new("F", (40, 40)).save(tmp_path / "float.tiff")
    return tmp_path


@pytest.fixture
def theirs():
    """theirs(hook) -> registry and model of a third-party architecture `sharp`, whose build_aspects is the hook."""
    from registry_plugins.openai_clip.config import ClipConfig
    from registry_plugins.openai_clip.model import CLIP

    class SharpConfig(ClipConfig):
        architecture = "sharp"

    def theirs(hook):
        plugin = types.SimpleNamespace(__name__="sharp")

        def resolve_config(name, raw):
            raw = {**SMALL_CLIP, "architecture": "sharp"} if name == "small_sharp" and raw is None else raw
            return SharpConfig.parse(raw, name) if raw and raw.get("architecture") == "sharp" else None

        def build_model(config, tower):
            return CLIP(config, tower)

        def build_aspects(model):
            return hook(model)

        plugin.resolve_config, plugin.build_aspects = hookimpl(resolve_config), hookimpl(build_aspects)
        plugin.build_model = hookimpl(build_model)
        registry = Registry()
        registry.register(plugin, "sharp")
        return registry, registry.create("small_sharp", False)

    return theirs
