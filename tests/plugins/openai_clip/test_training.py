"""Freezing, checkpointing of activations, weight decay."""

from __future__ import annotations

import copy

import pytest
import torch


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def starting(model, *prefixes):
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


IMAGE_GROUPS = [
    ("visual.proj",),
    ("visual.transformer.resblocks.2.", "visual.ln_post."),
    ("visual.transformer.resblocks.1.",),
    ("visual.transformer.resblocks.0.",),
    ("visual.conv1.", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre."),
]
TEXT_GROUPS = [
    ("text_projection",),
    ("transformer.resblocks.1.", "ln_final."),
    ("transformer.resblocks.0.",),
    ("token_embedding.", "positional_embedding"),
]


@pytest.mark.parametrize("unlocked", range(len(IMAGE_GROUPS) + 2))
def test_the_image_tower_opens_from_its_end(model, unlocked):
    rest = trainable(model) - starting(model, "visual.")
    model.lock_image_tower(unlocked)
    opened = [prefix for group in IMAGE_GROUPS[:unlocked] for prefix in group]
    assert trainable(model) == rest | (starting(model, *opened) if opened else set())


@pytest.mark.parametrize("unlocked", range(len(TEXT_GROUPS) + 2))
def test_the_text_tower_opens_from_its_end(model, unlocked):
    model.lock_text_tower(unlocked)
    opened = [prefix for group in TEXT_GROUPS[:unlocked] for prefix in group]
    kept = starting(model, "visual.") | {"logit_scale"}
    assert trainable(model) == kept | (starting(model, *opened) if opened else set())


def test_the_groups_above_are_all_there_is(model):
    everything = starting(model, *(prefix for group in IMAGE_GROUPS + TEXT_GROUPS for prefix in group))
    assert everything | {"logit_scale"} == starting(model, "")


def test_a_frozen_tower_gets_no_gradient_and_the_other_does(model, image, text):
    model.train().lock_image_tower()
    by_image, _ = model.get_logits(image, text)
    by_image.sum().backward()
    assert all(p.grad is None for p in model.visual.parameters())
    assert model.token_embedding.weight.grad.abs().sum() > 0


def test_grad_checkpointing_gives_equal_gradients(model, image, text):
    recomputing = copy.deepcopy(model).train()
    recomputing.set_grad_checkpointing()
    model.train()
    calls = []
    for block in (*recomputing.visual.transformer.resblocks, *recomputing.transformer.resblocks):
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    for each in (model, recomputing):
        each.get_logits(image, text)[0].logsumexp(dim=-1).sum().backward()
    assert len(calls) == 2 * (3 + 2)
    for (name, expected), parameter in zip(model.named_parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=1e-5, msg=name)


def test_grad_checkpointing_can_be_switched_off(model, image):
    model.set_grad_checkpointing()
    model.set_grad_checkpointing(False)
    assert not any(getattr(module, "grad_checkpointing", False) for module in model.modules())


def test_names_left_out_of_weight_decay_are_parameters(model):
    assert model.no_weight_decay() == {
        "positional_embedding", "visual.positional_embedding", "visual.class_embedding",
    }  # fmt: skip
    assert model.no_weight_decay() <= starting(model, "")
