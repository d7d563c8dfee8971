"""open_clip reads the folders of registry.save, and the reverse."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from PIL import Image

from registry_core import Registry

pytestmark = pytest.mark.parity

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    open_clip = pytest.importorskip("open_clip")

PREPROCESS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "longest"}
CUSTOM = {
    "embed_dim": 32,
    "custom_text": True,
    "init_logit_bias": -10.0,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2, "proj_bias": True},
}


@pytest.fixture
def registry(registry):
    registry.add_config(CUSTOM, "tiny-custom")
    return registry


def features(model, config):
    torch.manual_seed(0)
    image = torch.randn(2, 3, *config.image_size)
    text = torch.randint(1, 600, (2, config.text_cfg.context_length))
    with torch.no_grad():
        return model.encode_image(image), model.encode_text(text)


def assert_same_features(ours, theirs):
    for left, right in zip(features(ours, ours.config), features(theirs, ours.config), strict=True):
        torch.testing.assert_close(left, right, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ["tiny", "tiny-rn", "tiny-custom"])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_reads_what_save_writes(registry, tmp_path, name, quick_gelu):
    torch.manual_seed(0)
    ours = registry.create(name, False, quick_gelu=quick_gelu, preprocess_cfg=PREPROCESS)
    folder = registry.save(ours, tmp_path / "saved")
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert_same_features(ours, theirs.eval())
    image = Image.effect_noise((70, 40), 90).convert("RGB")
    torch.testing.assert_close(registry.preprocess(ours)(image), preprocess(image), atol=1e-6, rtol=0)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert tokenizer.context_length == registry.tokenizer(ours).context_length
    assert tokenizer.encode("a cat") == registry.tokenizer(ours).encode("a cat")


def test_we_read_a_folder_of_open_clip(registry, tmp_path):
    """A folder as its push_to_hf_hub writes it: the original config, no architecture, few preprocessing keys."""
    config = dict(registry.config("tiny").raw())
    config = {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")} | {"quick_gelu": True}
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**json.loads(json.dumps(config))).eval()
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS}))
    torch.save(theirs.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    ours = Registry().create(f"local-dir:{tmp_path}")
    assert_same_features(ours, theirs)
    assert Registry().preprocess(ours).config.resize_mode == "longest"
