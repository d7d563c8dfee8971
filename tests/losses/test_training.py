"""What training programs do with a model and its loss, for every class of model: lock, checkpoint, step, clamp."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from loss_models import CONFIGS, SMALL

from registry_core import Registry

RESNET = {
    **SMALL,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None},
}
TIMM = {
    **SMALL,
    "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "image_size": 32},
    "custom_text": True,
}
ROBERTA = {
    "model_type": "roberta", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 20, "type_vocab_size": 1, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
HF = {**SMALL, "custom_text": True, "text_cfg": {"hf_model_name": "mine", "hf_model_config": ROBERTA}}
NEEDS = {"timm": "timm", "hf": "transformers"}
KINDS = {
    **CONFIGS,
    "custom": {**SMALL, "custom_text": True},
    "resnet": RESNET,
    "timm": TIMM,
    "hf": HF,
    "daclip": SMALL,
}
# Adding a constant to all keys does not change the softmax over them.
WITHOUT_EFFECT = {"visual.attnpool.k_proj.bias"}
EACH_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def registry():
    fresh = Registry()
    for kind, config in KINDS.items():
        fresh.add_config(config, f"my-{kind}")
    return fresh


@pytest.fixture
def model(registry, kind):
    """A model in training mode, as a training program has it."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    torch.manual_seed(0)
    model = registry.create("daclip_my-daclip" if kind == "daclip" else f"my-{kind}", pretrained=False)
    if kind == "daclip":
        model.lock_clip()
        with torch.no_grad():  # a zero layer passes no gradient to the blocks before it
            for zero in model.visual_control.transformer.zero_modules:
                zero.weight.normal_(std=0.1)
    for name, parameter in model.named_parameters():
        if name.endswith("bn3.weight"):  # initialised with zeros too
            torch.nn.init.normal_(parameter)
    assert hasattr(model, "output_dict")
    model.output_dict = True
    return model.train()


@pytest.fixture
def batch(model, kind):
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(1, 39, (3, 8 * (2 if kind == "daclip" else 1)), generator=generator)
    return torch.randn(3, 3, *model.config.image_size, generator=generator), texts


def losses_of(registry, model, batch):
    return registry.loss(model)(**model(*batch), output_dict=True)


def step(registry, model, batch, **options):
    """Take one step, and return the names of the parameters that it changed."""
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0, **options)
    sum(losses_of(registry, model, batch).values()).backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@EACH_KIND
def test_a_step_changes_what_is_trainable_and_nothing_else(registry, model, batch):
    changed = step(registry, model, batch)
    assert trainable(model) - changed <= WITHOUT_EFFECT
    assert changed <= trainable(model)


@EACH_KIND
@pytest.mark.parametrize("sides", [("image",), ("text",), ("image", "text")], ids=" and ".join)
def test_locked_towers_do_not_change(registry, model, batch, kind, sides):
    if "image" in sides:
        model.lock_image_tower(unlocked_groups=0, freeze_bn_stats=False)
    if "text" in sides:
        model.lock_text_tower(unlocked_layers=0, freeze_layer_norm=True)
    trainable_now = trainable(model)
    prefixes = {"image": ("visual.", "clip.visual."), "text": ("text.", "transformer.", "clip.transformer.")}
    for side in sides:
        frozen = {name for name in dict(model.named_parameters()) if name.startswith(prefixes[side])}
        assert frozen
        # The projection after a tower of another library stays trainable, as in open_clip.
        assert not {name for name in frozen & trainable_now if not name.startswith(("visual.head.", "text.proj."))}
    changed = step(registry, model, batch)
    assert changed <= trainable_now
    assert "logit_scale" in changed


@EACH_KIND
def test_locking_and_unlocking_a_group(registry, model, batch):
    model.lock_image_tower(0)
    model.lock_text_tower(0)
    locked = trainable(model)
    model.lock_image_tower(1)
    model.lock_text_tower(1)
    assert trainable(model) > locked
    assert step(registry, model, batch) <= trainable(model)


@EACH_KIND
def test_gradient_checkpointing_changes_no_gradient(registry, model, batch):
    twin = copy.deepcopy(model)
    twin.set_grad_checkpointing()
    for each in (model, twin):
        for module in each.modules():  # recomputing would update the statistics of a batch norm twice
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(2)  # for dropout
        sum(losses_of(registry, each, batch).values()).backward()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, atol=1e-6, rtol=1e-5, msg=name)
    twin.set_grad_checkpointing(False)


@EACH_KIND
def test_outputs_are_a_dict_for_the_loss(registry, model, batch, kind):
    outputs = model(*batch)
    assert isinstance(outputs, dict)
    assert {"image_features", "text_features", "logit_scale"} <= outputs.keys()
    losses = registry.loss(model)(**outputs, output_dict=True)
    assert set(losses) == {
        "coca": {"contrastive_loss", "caption_loss"},
        "daclip": {"contrastive_loss", "degra_loss"},
    }.get(kind, {"contrastive_loss"})


@pytest.mark.parametrize("kind", ["coca", "daclip"])
def test_these_models_return_a_dict_by_default(registry, kind):
    model = registry.create("daclip_my-daclip" if kind == "daclip" else "my-coca", pretrained=False)
    assert model.output_dict is True


@EACH_KIND
def test_the_scale_is_clamped_in_place(model):
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
        model.logit_scale.clamp_(0, math.log(100))
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert model.logit_scale.requires_grad


@EACH_KIND
def test_names_without_weight_decay_are_parameters(model, kind):
    names = model.no_weight_decay()
    assert names <= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    assert all(isinstance(name, str) for name in names)
    assert names or kind == "resnet"


def test_a_da_clip_has_the_names_of_its_base_without_weight_decay(registry):
    model = registry.create("daclip_my-daclip", pretrained=False)
    inner = {f"clip.{name}" for name in model.clip.no_weight_decay()}
    control = {"visual_control.positional_embedding", "visual_control.class_embedding"}
    assert inner | control <= model.no_weight_decay()
    part = registry.create("daclip_my-daclip", pretrained=False, tower="text")
    assert part.no_weight_decay() == {"clip.positional_embedding"}


@EACH_KIND
def test_steps_make_the_loss_smaller(registry, model, batch):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    found = []
    for _ in range(12):
        optimizer.zero_grad()
        total = sum(losses_of(registry, model, batch).values())
        total.backward()
        optimizer.step()
        found.append(total.item())
    assert found[-1] < 0.8 * found[0]


@pytest.mark.parametrize("kind", ["custom", "siglip", "resnet"])
def test_distillation(registry, model, batch):
    teacher = registry.create("my-clip", pretrained=False)
    teacher.output_dict = True
    size = model.config.image_size
    images, texts = batch
    outputs = model(images, texts)
    with torch.no_grad():
        small = torch.nn.functional.interpolate(images, teacher.config.image_size)
        taught = teacher(small if size != teacher.config.image_size else images, texts)
    outputs.update({f"dist_{name}": value for name, value in taught.items()})
    losses = registry.loss(model, distill=True)(**outputs, output_dict=True)
    assert set(losses) == {"contrastive_loss", "distill_loss"}
    sum(losses.values()).backward()
    assert model.logit_scale.grad.any()
    assert all(parameter.grad is None for parameter in teacher.parameters())
