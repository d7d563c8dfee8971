"""A tiny CoCa with every parameter moved off its initial value, and inputs for it."""

from __future__ import annotations

import copy

import pytest
import torch

TINY_COCA = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "attn_pooler_queries": 6,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 40,
        "width": 24,
        "heads": 4,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 12, "vocab_size": 40, "width": 24, "heads": 4, "layers": 2},
    "custom_text": True,
}
START, END = 38, 39


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads only wait for each other over tensors this small, for seconds where other programs run too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config():
    """The raw config; a test may change its own."""
    return copy.deepcopy(TINY_COCA)


@torch.no_grad()
def shake(model, strength=0.3):
    """Zeros and ones hide mistakes: in a bias, a norm, a layer scale."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * strength)
    return model


@pytest.fixture
def coca(registry, config):
    """Makes a model; keys laid over the tiny config, mapping by mapping, as arguments."""
    count = iter(range(100))

    def make(strength=0.3, **changes):
        torch.manual_seed(0)
        raw = copy.deepcopy(config)
        for key, value in changes.items():
            raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
        return shake(registry.create(registry.add_config(raw, f"coca-{next(count)}"), False), strength)

    return make


@pytest.fixture
def model(coca):
    return coca()


@pytest.fixture
def image():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text():
    """Three texts, one padded, one with padding inside, one full."""
    ids = torch.randint(1, 38, (3, 12), generator=torch.Generator().manual_seed(2))
    ids[0, 6:] = 0
    ids[1, 4] = 0
    return ids


@pytest.fixture
def tokens():
    """Options of `generate` that say which ids start, end and pad in the tiny vocabulary."""
    return {"sot_token_id": START, "eos_token_id": END, "seq_len": 10, "min_seq_len": 3}
