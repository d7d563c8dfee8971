"""open_clip's unmodified training program trains a model and a loss of the registry like its own."""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.parity

CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2},
}
CONFIGS = {
    "clip": CLIP,
    "custom": {**CLIP, "custom_text": True},
    "siglip": {**CLIP, "custom_text": True, "init_logit_bias": -5.0},
    "coca": {
        **CLIP,
        "vision_cfg": {
            **CLIP["vision_cfg"],
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "attn_pooler_queries": 4,
            "output_tokens": True,
        },
        "text_cfg": {**CLIP["text_cfg"], "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 12, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2},
        "custom_text": True,
    },
}
ROWS, BATCHES = 4, 4


class Batches:
    """The data, as the program expects them."""

    num_batches, num_samples = BATCHES, ROWS * BATCHES

    def __init__(self, words=1):
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            (
                torch.randn(ROWS, 3, 32, 32, generator=generator),
                torch.randint(1, 60, (ROWS, 12 * words), generator=generator),
            )
            for _ in range(BATCHES)
        ]
        self.dataloader = self

    def __iter__(self):
        return iter(self.batches)

    def set_epoch(self, epoch):
        pass


def arguments(**changes):
    """The arguments of the program that its training loop and its choice of a loss read."""
    defaults = {
        "device": "cpu", "precision": "fp32", "accum_freq": 1, "skip_scheduler": True, "grad_clip_norm": None,
        "horovod": False, "distill": False, "rank": 0, "local_rank": 0, "world_size": 1, "log_every_n_steps": 100,
        "batch_size": ROWS, "wandb": False, "distributed": False, "local_loss": False, "gather_with_grad": False,
        "siglip": False, "loss_dist_impl": None, "coca_caption_loss_weight": 2.0,
        "coca_contrastive_loss_weight": 1.0,
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **changes})


def train(model, loss, args, words=1, teacher=None):
    """Run an epoch of open_clip's training program."""
    from open_clip_train.train import train_one_epoch

    model.output_dict = True
    # No Adam: a summand of all keys has a gradient of rounding errors alone, and Adam makes whole steps of these.
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    train_one_epoch(model, {"train": Batches(words)}, loss, 0, optimizer, None, None, teacher, args)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@pytest.fixture(autouse=True)
def _program():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("open_clip_train.train")


@pytest.fixture
def pair(registry, kind, tmp_path):
    """Our model and open_clip's, with equal weights."""
    import open_clip

    raw = CONFIGS[kind]
    registry.add_config(raw, kind)
    torch.manual_seed(1)
    ours = registry.create(kind, pretrained=False)
    made = {"clip": open_clip.CLIP, "coca": open_clip.CoCa}.get(kind, open_clip.CustomTextCLIP)
    theirs = made(**{key: copy.deepcopy(value) for key, value in raw.items() if key != "custom_text"})
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("accum_freq", [1, 2])
@pytest.mark.parametrize("kind", CONFIGS)
def test_training_goes_the_same_way(registry, pair, kind, accum_freq):
    import open_clip

    ours, theirs = pair
    before = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    args = arguments(accum_freq=accum_freq, model=kind, siglip=kind == "siglip")
    found = train(ours, registry.loss(ours, cache_labels=True), args)
    expected = train(theirs, open_clip.create_loss(args), args)
    assert all(not torch.equal(found[name], before[name]) for name in found)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=2e-5, rtol=0, msg=name)


@pytest.mark.parametrize("kind", ["clip", "custom"])
def test_learning_from_a_teacher_goes_the_same_way(registry, pair, kind):
    import open_clip

    ours, theirs = pair
    torch.manual_seed(2)
    registry.add_config(CLIP, "teacher")
    teacher = registry.create("teacher", pretrained=False)
    teacher.output_dict = True
    args = arguments(distill=True, model=kind)
    found = train(ours, registry.loss(ours, distill=True), args, teacher=teacher)
    expected = train(theirs, open_clip.create_loss(args), args, teacher=teacher)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=2e-5, rtol=0, msg=name)


@pytest.mark.parametrize("kind", ["clip", "coca"])
def test_what_is_locked_stays(registry, pair, kind):
    ours, _ = pair
    ours.lock_image_tower(unlocked_groups=1, freeze_bn_stats=False)
    ours.lock_text_tower(unlocked_layers=1, freeze_layer_norm=True)
    ours.set_grad_checkpointing()
    before = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    train(ours, registry.loss(ours), arguments())
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, before[name]) is not parameter.requires_grad, name


@pytest.mark.parametrize("accum_freq", [1, 2])
def test_it_trains_a_da_clip(registry, accum_freq):
    registry.add_config(CLIP, "base")
    model = registry.create("daclip_base", pretrained=False)
    model.lock_clip()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(model, registry.loss(model), arguments(accum_freq=accum_freq), words=2)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) is not parameter.requires_grad, name
