"""forward_intermediates against open_clip's, for each kind of tower."""

from __future__ import annotations

import warnings

import pytest
import torch

from registry_core import Registry

pytestmark = pytest.mark.parity

TEXT = {"context_length": 16, "vocab_size": 200, "width": 32, "heads": 2, "layers": 3}
VIT = {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGS = {
    "plain": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "custom": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "custom_text": True, "init_logit_bias": -3.0},
    "timm": {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": "eva02_tiny_patch14_224",
            "timm_pool": "token",
            "timm_proj": None,
            "image_size": 224,
        },
        "text_cfg": TEXT,
        "custom_text": True,
    },
}
FORMS = {
    "all": {},
    "last two, normed": {"image_indices": 2, "text_indices": 2, "normalize_intermediates": True},
    "chosen, tokens": {"image_indices": [0, -2], "text_indices": [1], "image_output_fmt": "NLC"},
    "only": {"intermediates_only": True, "image_indices": [1], "stop_early": True},
    "stopped": {"image_indices": [1], "text_indices": [0], "stop_early": True},
    "extra, logits": {
        "image_output_extra_tokens": True,
        "output_logits": True,
        "output_logit_scale_bias": True,
    },
}


@pytest.fixture
def pair(request, tmp_path):
    """open_clip's model and ours, with the same config and weights."""
    import open_clip

    config = CONFIGS[request.param]
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kind(**{key: value for key, value in config.items() if key != "custom_text"}).eval()
    torch.save(theirs.state_dict(), tmp_path / "same.pt")
    registry = Registry()
    registry.add_config(config, "same")
    return theirs, registry.create("same", tmp_path / "same.pt")


@pytest.mark.parametrize("pair", CONFIGS, indirect=True)
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_same_outputs(pair, form):
    theirs, ours = pair
    size = ours.config.image_size
    inputs = {"image": torch.randn(2, 3, *size), "text": torch.randint(1, 200, (2, 16))}
    expected = theirs.forward_intermediates(**inputs, **FORMS[form])
    found = ours.forward_intermediates(**inputs, **FORMS[form])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=2e-5, rtol=2e-5, msg=name)


@pytest.mark.parametrize("pair", ["custom"], indirect=True)
@torch.no_grad()
def test_arguments_have_open_clips_order(pair):
    import numpy as np

    theirs, ours = pair
    inputs = torch.randn(2, 3, 32, 32), torch.randint(1, 200, (2, 16))
    rest = (True, False, True, False, "NLC", True, "NLC", True, True, True)
    expected = theirs.forward_intermediates(*inputs, 2, [0], *rest)
    found = ours.forward_intermediates(*inputs, np.int64(2), np.array([0]), *rest)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=2e-5)
