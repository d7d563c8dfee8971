"""forward_intermediates against open_clip's, for each kind of tower."""

from __future__ import annotations

import warnings

import pytest
import torch

from registry_core import InputError, Registry

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
    "extra, logits": {
        "image_output_extra_tokens": True,
        "output_logits": True,
        "output_logit_scale_bias": True,
    },
}


@pytest.fixture
def pair(request, tmp_path):
    """open_clip's model of a config and ours, from the same weights."""
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


@torch.no_grad()
def test_resnet_gives_its_stages():
    registry = Registry()
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None}
    registry.add_config({"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}, "rn")
    model = registry.create("rn", False)
    picture = torch.randn(1, 3, 64, 64)
    outputs = model.forward_intermediates(picture, image_indices=[0, 4], normalize=False)
    assert [tuple(found.shape) for found in outputs["image_intermediates"]] == [(1, 8, 16, 16), (1, 256, 2, 2)]
    assert torch.equal(outputs["image_features"], model.encode_image(picture))
    with pytest.raises(InputError, match=r"gives maps, layout 'NCHW', and no tokens; got 'NLC'"):
        model.forward_intermediates(picture, image_output_fmt="NLC")


@pytest.mark.parametrize("pair", ["plain"], indirect=True)
def test_blocks_that_are_not_there(pair):
    _, model = pair
    picture = torch.randn(1, 3, 32, 32)
    with pytest.raises(InputError, match=r"There are 4 blocks; the last 5 of them were asked for\. Ask for 1 to 4"):
        model.forward_intermediates(picture, image_indices=5)
    with pytest.raises(InputError, match=r"There are 4 blocks, 0 to 3; asked for were \[4\]"):
        model.forward_intermediates(picture, image_indices=[4])
    with pytest.raises(InputError, match="logits need pictures and texts"):
        model.forward_intermediates(picture, output_logits=True)
