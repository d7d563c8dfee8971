"""Which parameters are frozen, and which are excluded from weight decay."""

from __future__ import annotations

import copy

import pytest
import torch

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.parity

VIT = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 128, "head_width": 32, "layers": 3},
    "text_cfg": {"context_length": 16, "vocab_size": 300, "width": 96, "heads": 4, "layers": 3},
}
RESNET = {
    **VIT,
    "vision_cfg": {"image_size": 64, "layers": [2, 1, 1, 1], "width": 16, "head_width": 32, "patch_size": None},
}
WITH_OPTIONS = {
    **VIT,
    "vision_cfg": {**VIT["vision_cfg"], "ls_init_value": 0.1, "pos_embed_type": "sin_cos_2d"},
    "text_cfg": {**VIT["text_cfg"], "proj_bias": True, "ls_init_value": 0.3},
    "init_logit_bias": -10.0,
}
NO_PROJECTION = {**VIT, "text_cfg": {**VIT["text_cfg"], "width": 64, "proj_type": "none"}}
CONFIGS = {"vit": VIT, "resnet": RESNET, "options": WITH_OPTIONS, "no projection": NO_PROJECTION}
TIMM = {
    **VIT,
    "vision_cfg": {"timm_model_name": "resnet18", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
}


@pytest.fixture
def fresh(registry):
    """Makes our model and open_clip's from a config, with random weights."""

    def make(name):
        registry.add_config(CONFIGS[name], name)
        torch.manual_seed(1)
        ours = registry.create(name, False)
        torch.manual_seed(2)
        return ours, open_clip.CLIP(**copy.deepcopy(CONFIGS[name]))

    return make


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("unlocked", range(7))
@pytest.mark.parametrize("name", ["vit", "options"])
def test_locking_the_image_tower(fresh, name, unlocked):
    ours, theirs = fresh(name)
    for model in (ours, theirs):
        model.lock_image_tower(unlocked_groups=unlocked)
    assert trainable(ours) == trainable(theirs)


@pytest.mark.parametrize("unlocked", range(7))
@pytest.mark.parametrize("name", ["vit", "options", "resnet", "no projection"])
def test_locking_the_text_tower(fresh, name, unlocked):
    ours, theirs = fresh(name)
    for model in (ours, theirs):
        model.lock_text_tower(unlocked_layers=unlocked)
    assert trainable(ours) == trainable(theirs)


@pytest.mark.parametrize("unlocked", [0, 1, 3])
def test_frozen_batch_norms_of_timm(registry, unlocked):
    """Batch norms of trainable groups still update their statistics."""
    registry.add_config(TIMM, "timm")
    ours, theirs = registry.create("timm", False), open_clip.CLIP(**copy.deepcopy(TIMM))
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        for model in (ours, theirs):
            model.lock_image_tower(unlocked, True)
            model.train()
        torch.testing.assert_close(ours.encode_image(image), theirs.encode_image(image), atol=2e-5, rtol=2e-5)
    assert trainable(ours) == trainable(theirs)
    torch.testing.assert_close(dict(ours.named_buffers()), {n: b for n, b in theirs.named_buffers() if "mask" not in n})


@pytest.mark.parametrize("config", [RESNET, TIMM], ids=["native", "timm"])
def test_a_checkpoint_of_frozen_batch_norms_loads(registry, config, tmp_path):
    """open_clip's frozen norms have no `num_batches_tracked`, and it loads checkpoints without these counts."""
    name = registry.add_config(config, "mine")
    ours, theirs = registry.create(name, False), open_clip.CLIP(**copy.deepcopy(config))
    image = torch.randn(1, 3, 64, 64)
    whole = tmp_path / "whole.pt"
    torch.save(ours.state_dict(), whole)
    for model in (ours, theirs):
        model.lock_image_tower(freeze_bn_stats=True)
    locked = tmp_path / "locked.pt"
    torch.save(theirs.state_dict(), locked)
    assert not any(key.endswith("num_batches_tracked") for key in theirs.state_dict())
    with torch.no_grad():
        expected = theirs.eval().encode_image(image)
        for model in (registry.create(name, locked), ours):
            registry.load(model, locked)
            torch.testing.assert_close(model.encode_image(image), expected, atol=2e-5, rtol=2e-5)
    registry.save(ours, tmp_path / "saved")
    saved = registry.create(f"local-dir:{tmp_path / 'saved'}")
    assert torch.equal(saved.encode_image(image), ours.encode_image(image))
    assert registry.load(ours, whole).unexpected == []


def test_numbers_of_groups_may_be_numpy_integers(fresh):
    import numpy as np

    ours, theirs = fresh("vit")
    for model in (ours, theirs):
        model.lock_image_tower(np.int64(2))
        model.lock_text_tower(np.int64(1))
        model.visual.lock(np.int64(1), False)
    assert trainable(ours) == trainable(theirs)


def test_locking_a_resnet(fresh):
    ours, theirs = fresh("resnet")
    for model in (ours, theirs):
        model.lock_image_tower()
    assert trainable(ours) == trainable(theirs)


def test_frozen_batch_norms_in_training(fresh):
    ours, theirs = fresh("resnet")
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for model in (ours, theirs):
            model.lock_image_tower(freeze_bn_stats=True)
            model.train()
        image = torch.randn(3, 3, 64, 64)
        torch.testing.assert_close(ours.encode_image(image), theirs.encode_image(image), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_names_excluded_from_weight_decay(fresh, name):
    ours, theirs = fresh(name)
    assert ours.no_weight_decay() == theirs.no_weight_decay()


@pytest.mark.parametrize("name", CONFIGS)
def test_trainable_parameters_of_a_new_model(fresh, name):
    ours, theirs = fresh(name)
    assert trainable(ours) == trainable(theirs)
