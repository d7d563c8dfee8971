"""A config is data: bounded numbers, plain names, and messages that stay short whatever it holds."""

from __future__ import annotations

import copy
import time

import pytest

from registry_core import ConfigError, Registry

RAW = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2},
}
TIMM = {**RAW, "custom_text": True, "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 32}}


def changed(raw, key, value):
    result = copy.deepcopy(raw)
    *path, last = key.split(".")
    inner = result
    for part in path:
        inner = inner[part]
    inner[last] = value
    return result


def refused(raw):
    with pytest.raises(ConfigError) as caught:
        Registry().services.claim(raw, "a test")
    return caught.value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vision_cfg.layers", 10**9), ("text_cfg.layers", 10**9), ("vision_cfg.layers", [10**9, 1, 1, 1]),
        ("vision_cfg.width", 10**30), ("embed_dim", 10**10), ("text_cfg.vocab_size", 10**12),
        ("text_cfg.eos_id", 10**30), ("text_cfg.pad_id", -1), ("text_cfg.eos_id", -5), ("text_cfg.width", 10**5000),
        ("init_logit_scale", float("nan")), ("init_logit_scale", float("inf")), ("init_logit_bias", float("-inf")),
        ("vision_cfg.mlp_ratio", float("inf")), ("vision_cfg.ls_init_value", float("nan")),
        ("vision_cfg.norm_kwargs", {"eps": float("nan")}),
    ],
    ids=lambda value: f"{value!s:.20}" if not isinstance(value, int) else "number",
)  # fmt: skip
def test_numbers_are_finite_and_bounded(key, value):
    start = time.perf_counter()
    error = refused(changed(RAW, key, value))
    assert any(problem.startswith(key) for problem in error.problems)
    assert time.perf_counter() - start < 2
    assert len(str(error)) < 2000


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:org/model",
        "hf_hub:org/model",
        "local-dir:/etc",
        "https://example.org/x",
        "../../x",
        "org/model",
        "",
        "a b",
    ],
)
def test_timms_models_are_named_and_never_fetched(name, monkeypatch):
    import socket

    def refuse(*_, **__):
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    error = refused(changed(TIMM, "vision_cfg.timm_model_name", name))
    assert list(error.problems) == ["vision_cfg.timm_model_name"]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_base.fb_in22k", "vit_medium_patch16_gap_256"])
def test_names_of_timm_pass(name):
    assert Registry().services.claim(changed(TIMM, "vision_cfg.timm_model_name", name), "a test").config


def test_a_message_stays_short():
    start = time.perf_counter()
    error = refused({**RAW, **{f"key{number}": number for number in range(100_000)}})
    assert time.perf_counter() - start < 10
    assert len(str(error)) < 10_000
    assert "and 99,980 more" in str(error)
    error = refused({**RAW, "embed_dim": "x" * 10**6, "k" * 10**6: 1})
    assert len(str(error)) < 2000
