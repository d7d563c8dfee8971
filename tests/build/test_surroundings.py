"""A model is what `create` was asked for: in any of torch's modes, and beside any number of other threads."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from registry_core.build.surroundings import usual_surroundings

VISION = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2}
CUSTOM = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True}
FAMILIES = {
    "custom": CUSTOM,
    "sigmoid": CUSTOM | {
        "init_logit_bias": -10,
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4},
        "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "coca": CUSTOM | {
        "embed_dim": 32,
        "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT,
    },
    "timm": CUSTOM | {"vision_cfg": {
        "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear", "image_size": 32
    }},
}  # fmt: skip
NAMES = ["tiny", "tiny-rn", "daclip_tiny", *FAMILIES]


@contextmanager
def _process_wide(change, restore):
    change()
    try:
        yield
    finally:
        restore()


def _dtype(dtype):
    return lambda: _process_wide(lambda: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32))


AMBIENT = {
    "device": lambda: torch.device("meta"),
    "set_default_device": lambda: _process_wide(
        lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)
    ),
    "bfloat16": _dtype(torch.bfloat16),
    "float64": _dtype(torch.float64),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: _process_wide(
        lambda: torch.use_deterministic_algorithms(mode=True), lambda: torch.use_deterministic_algorithms(mode=False)
    ),
}


@pytest.fixture
def zoo(registry):
    for name, config in FAMILIES.items():
        registry.add_config(config, name)
    return registry


def made(zoo, name, path):
    """Return a model with random values, and one from a file."""
    torch.manual_seed(3)
    return zoo.create(name, False), zoo.create(name, path)


def facts(model):
    """Return what a caller can tell about each tensor, and its values."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: (tensor.device, tensor.dtype, tensor.requires_grad, tensor.is_inference(), tensor.detach().tolist())
        for name, tensor in tensors.items()
    }


def features(model, size):
    with torch.no_grad():
        return model.encode_image(torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ambient", AMBIENT)
def test_modes_change_nothing(zoo, tmp_path, name, ambient):
    torch.manual_seed(3)
    path = tmp_path / "x.pt"
    torch.save(zoo.create(name, False).state_dict(), path)
    with AMBIENT[ambient]():
        inside = made(zoo, name, path)
    size = 32 if name == "timm" else 64
    for model, expected in zip(inside, made(zoo, name, path), strict=True):
        assert facts(model) == facts(expected)
        assert zoo.report(model).precision == "fp32"
        assert torch.equal(features(model, size), features(expected, size))
    inside[1].encode_image(torch.ones(2, 3, size, size)).sum().backward()
    assert any(parameter.grad is not None for parameter in inside[1].parameters())


@pytest.mark.parametrize("ambient", AMBIENT)
def test_load_into_a_model(zoo, tiny_checkpoint, ambient):
    model, expected = zoo.create("tiny", False), zoo.create("tiny", tiny_checkpoint)
    with AMBIENT[ambient]():
        zoo.load(model, tiny_checkpoint)
    assert facts(model) == facts(expected)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_a_shell_is_empty(zoo, ambient):
    with AMBIENT[ambient]():
        model = zoo.create("tiny", device="meta")
    assert {(tensor.device.type, tensor.dtype) for tensor in model.parameters()} == {("meta", torch.float32)}


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16", "amp"])
def test_a_precision_that_was_asked_for_is_kept(zoo, tiny_checkpoint, precision):
    with AMBIENT["bfloat16"]():
        model = zoo.create("tiny", tiny_checkpoint, precision=precision)
    assert facts(model) == facts(zoo.create("tiny", tiny_checkpoint, precision=precision))


def test_the_modes_of_the_caller_apply_again(zoo, tiny_checkpoint):
    with torch.device("meta"), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        zoo.create("tiny", tiny_checkpoint)
        assert torch.empty(1).is_meta
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")


class TestUsualDtype:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: torch.full((2,), 0.5),
            lambda: torch.tensor([0.5, 1]),
            lambda: torch.arange(0, 1, 0.25),
            lambda: torch.arange(4) / 4,
            lambda: torch.stack([torch.ones(2), torch.tensor([1.0, 2.0])]),
            lambda: torch.hann_window(4),
            lambda: torch.ones(2, dtype=None),
            lambda: torch.zeros_like(torch.ones(2)),
        ],
    )
    def test_nobody_asked_for_another(self, make):
        with AMBIENT["float64"](), usual_surroundings():
            assert make().dtype == torch.float32

    @pytest.mark.parametrize(
        "make",
        [
            lambda: torch.ones(2, dtype=torch.float64),
            lambda: torch.ones(2, dtype=torch.int64).double(),
            lambda: torch.ones(2).to(torch.float64),
            lambda: torch.ones(2).type(torch.float64),
            lambda: torch.cat([torch.ones(1, dtype=torch.float64)] * 2) * 2,
            lambda: torch.as_tensor(__import__("numpy").ones(2)),
            lambda: torch.arange(4, dtype=torch.float64) / 4,
        ],
    )
    def test_the_code_asked_for_this_one(self, make):
        with AMBIENT["float64"](), usual_surroundings():
            assert make().dtype == torch.float64


class TestThreads:
    def test_creating_beside_threads_that_construct_modules(self, zoo, tiny_checkpoint):
        """8 threads create 200 models while 2 others construct modules."""
        expected = facts(zoo.create("tiny", tiny_checkpoint))
        done, failures = threading.Event(), []

        def construct():
            while not done.is_set():
                try:
                    layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
                    assert layer[1].weight.tolist() == [1, 1]
                except BaseException as error:  # noqa: BLE001 - the thread reports to the test
                    failures.append(error)

        others = [threading.Thread(target=construct) for _ in range(2)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            for thread in others:
                thread.start()
            with ThreadPoolExecutor(8) as pool:
                models = list(pool.map(lambda _: zoo.create("tiny", tiny_checkpoint), range(200)))
        finally:
            done.set()
            for thread in others:
                thread.join()
            sys.setswitchinterval(interval)
        assert failures == []
        assert all(facts(model) == expected for model in models)
