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
    "stopped": {"image_indices": [1], "text_indices": [0], "stop_early": True},
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


@pytest.mark.parametrize("pair", ["custom"], indirect=True)
@torch.no_grad()
def test_arguments_come_in_open_clips_order(pair):
    import numpy as np

    theirs, ours = pair
    inputs = torch.randn(2, 3, 32, 32), torch.randint(1, 200, (2, 16))
    rest = (True, False, True, False, "NLC", True, "NLC", True, True, True)
    expected = theirs.forward_intermediates(*inputs, 2, [0], *rest)
    found = ours.forward_intermediates(*inputs, np.int64(2), np.array([0]), *rest)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=2e-5)


@pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("vit_tiny_patch16_224", 224)])
@torch.no_grad()
def test_what_timm_refuses(name, size):
    registry = Registry()
    vision = {"timm_model_name": name, "timm_pool": "avg", "image_size": size}
    registry.add_config({"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT, "custom_text": True}, "timm")
    model, picture = registry.create("timm", False), torch.randn(1, 3, size, size)
    outputs = model.forward_intermediates(picture, image_output_extra_tokens=True, normalize=False)
    assert ("image_intermediates_prefix" in outputs) == ("vit" in name)  # convolutions have maps alone
    torch.testing.assert_close(outputs["image_features"], model.encode_image(picture))
    for indices, why in (([99], "feature index 99 is out of range"), (0, "out of range"), ([], "empty")):
        with pytest.raises(InputError, match=rf"timm's {name} does not give these intermediate outputs: .*{why}"):
            model.forward_intermediates(picture, image_indices=indices)
    with pytest.raises(InputError, match="of floating-point numbers, got a list"):
        model.encode_image([picture])
    with pytest.raises(InputError, match=rf"\[N, 3, height, width\], got \[3, {size}, {size}\]"):
        model.encode_image(picture[0])
    if "vit" in name:
        with pytest.raises(InputError, match=r"\[N, 3, 224, 224\], got \[1, 3, 96, 224\]"):
            model.encode_image(picture[:, :, :96])
    else:
        assert model.encode_image(picture[:, :, :48]).shape == (1, 24)
        with pytest.raises(InputError, match="The feature of timm's resnet18 needs its last stage: leave stop_early"):
            model.forward_intermediates(picture, image_indices=[1], stop_early=True)


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
    for indices in ("1", 1.5, [None]):
        with pytest.raises(InputError, match=r"were asked for: expected a number of last blocks, or a sequence of"):
            model.forward_intermediates(picture, image_indices=indices)
    with pytest.raises(InputError, match="image_output_fmt='NHWC': expected NCHW or NLC"):
        model.forward_intermediates(picture, image_output_fmt="NHWC")
    with pytest.raises(InputError, match="logits need pictures and texts"):
        model.forward_intermediates(picture, output_logits=True)


def test_what_some_vits_cannot_give():
    registry = Registry()
    pooled = {**VIT, "patch_dropout": 0.5, "attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2}
    registry.add_config({"embed_dim": 24, "vision_cfg": pooled, "text_cfg": TEXT}, "pooled")
    model, picture = registry.create("pooled", False), torch.randn(1, 3, 32, 32)
    with pytest.raises(InputError, match=r"normalize_intermediates=True: .* attentional pooler"):
        model.forward_intermediates(picture, normalize_intermediates=True)
    model.train()
    with pytest.raises(InputError, match=r"Of 16 patches 8 are left by patch dropout.*Call eval\(\)"):
        model.forward_intermediates(picture)
    assert model.forward_intermediates(picture, image_output_fmt="NLC")["image_intermediates"][0].shape == (1, 8, 32)
