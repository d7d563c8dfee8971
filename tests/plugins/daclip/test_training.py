"""Gradients, freezing and steps."""

from __future__ import annotations

import copy

import pytest
import torch


def loss(model, image, text):
    outputs = model(image, torch.cat([text, text.flip(1)], dim=-1))
    images = outputs["image_features"] + outputs["image_degra_features"]
    texts = outputs["text_features"] + outputs["text_degra_features"]
    return (outputs["logit_scale"] * images @ texts.T).softmax(dim=-1).diagonal().log().neg().sum()


@pytest.fixture(params=["full", "base"])
def model(request):
    return request.getfixturevalue(request.param).train()


def test_grad_checkpointing_gives_equal_gradients(full, image, text):
    recomputing = copy.deepcopy(full).train()
    recomputing.set_grad_checkpointing()
    full.train()
    assert recomputing.visual_control.transformer.transformer.grad_checkpointing
    assert recomputing.visual.transformer.grad_checkpointing
    assert recomputing.clip.transformer.grad_checkpointing
    for each in (full, recomputing):
        loss(each, image, text).backward()
    gradients = dict(full.named_parameters())
    for name, parameter in recomputing.named_parameters():
        expected = gradients[name].grad
        assert (parameter.grad is None) == (expected is None), name
        if expected is not None:
            torch.testing.assert_close(parameter.grad, expected, atol=1e-6, rtol=1e-5, msg=name)


def test_grad_checkpointing_recomputes_every_block(full, image):
    full.train().set_grad_checkpointing()
    counts = []
    for block in (*full.visual.transformer.resblocks, *full.visual_control.transformer.transformer.resblocks):
        block.register_forward_pre_hook(lambda *_: counts.append(1))
    full.encode_image(image, control=True)[0].sum().backward()
    # The control tower's last block is recomputed too: its control goes to the image tower's first block.
    assert len(counts) == 12
    counts.clear()
    full.set_grad_checkpointing(False)
    full.encode_image(image, control=True)[0].sum().backward()
    assert len(counts) == 6


def test_every_trainable_parameter_gets_a_gradient(model, image, text):
    with torch.no_grad():  # a zero control passes no gradient back to its blocks
        for module in model.visual_control.transformer.zero_modules:
            module.weight.normal_(std=0.01)
    loss(model, image, text).backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    # DaCLIP has its own logit scale and does not use the base's.
    assert without <= {"clip.logit_scale"}
    assert not {name for name, p in model.named_parameters() if not p.requires_grad and p.grad is not None}


def test_a_step_changes_trainable_parameters_and_no_others(base, image, text):
    base.train()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    optimizer = torch.optim.SGD(base.parameters(), lr=0.1)
    for _ in range(2):  # in the second step gradients pass through the controls of the first
        optimizer.zero_grad()
        loss(base, image, text).backward()
        optimizer.step()
    changed = {name for name, tensor in base.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name, p in base.named_parameters() if p.requires_grad}


def test_lock_clip_freezes_the_base_under_both_names(full):
    full.lock_clip()
    frozen = {name for name, p in full.named_parameters(remove_duplicate=False) if not p.requires_grad}
    everything = {name for name, _ in full.named_parameters(remove_duplicate=False)}
    assert frozen == {name for name in everything if name.startswith(("clip.", "visual."))}
    assert full.logit_scale.requires_grad
