"""What is frozen, what is left out of weight decay, and how random values are distributed."""

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
CONFIGS = {"vit": VIT, "resnet": RESNET, "options": WITH_OPTIONS}


@pytest.fixture
def fresh(registry):
    """Makes both models of a config with random values: ours, open_clip's."""

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
@pytest.mark.parametrize("name", ["vit", "options", "resnet"])
def test_locking_the_text_tower(fresh, name, unlocked):
    ours, theirs = fresh(name)
    for model in (ours, theirs):
        model.lock_text_tower(unlocked_layers=unlocked)
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
def test_names_left_out_of_weight_decay(fresh, name):
    ours, theirs = fresh(name)
    assert ours.no_weight_decay() == theirs.no_weight_decay()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_fresh_models_trainable_names(fresh, name):
    ours, theirs = fresh(name)
    assert trainable(ours) == trainable(theirs)


@pytest.mark.parametrize("name", CONFIGS)
def test_random_values_have_open_clips_distributions(fresh, name):
    """Mean, deviation and shape (uniform or normal) of each parameter, to six standard errors."""
    ours, theirs = fresh(name)
    expected = theirs.state_dict()
    differing = {}
    for key, tensor in ours.state_dict().items():
        complaint = compare(tensor.double().flatten(), expected[key].double().flatten())
        if complaint:
            differing[key] = complaint
    assert not differing


def compare(got, expected):
    """What of the two samples differs by more than chance; nothing where none does."""
    if torch.allclose(got, expected, atol=1e-6):  # constants, and what is computed
        return ""
    if got.numel() == 1 or 0 in {got.std().item(), expected.std().item()}:
        return f"constant {expected[0]} or {got[0]}"
    count, mean, std = got.numel(), expected.mean(), expected.std()
    peaks = [((x - x.mean()) ** 4).mean() / x.var() ** 2 for x in (got, expected)]
    found = {
        f"mean {got.mean():.5f}, expected {mean:.5f}": (got.mean() - mean).abs() > 6 * std * (2 / count) ** 0.5,
        f"deviation {got.std():.5f}, expected {std:.5f}": (got.std() / std).log().abs() > 6 * (1 / count) ** 0.5,
        f"kurtosis {peaks[0]:.2f}, expected {peaks[1]:.2f}": (peaks[0] - peaks[1]).abs() > 6 * (48 / count) ** 0.5,
    }
    return "; ".join(what for what, differs in found.items() if differs)


def test_the_comparison_tells_distributions_apart():
    torch.manual_seed(0)
    normal, uniform = torch.randn(5000).double(), (torch.rand(5000).double() - 0.5) * 12**0.5
    assert compare(normal, torch.randn(5000).double()) == ""
    assert "kurtosis" in compare(uniform, normal)
    assert "deviation" in compare(normal * 1.2, normal)
    assert "mean" in compare(normal + 0.2, normal)
    assert "constant" in compare(torch.zeros(9), torch.ones(9))
    assert "constant" in compare(torch.zeros(9), torch.randn(9))
    assert "constant" in compare(torch.zeros(1), torch.ones(1))
