# ruff: noqa: ARG005 - each case takes the model
from __future__ import annotations

import copy
import hashlib
import json

import pytest
import torch

from registry_core import RegistryError


@pytest.fixture
def loaded(registry, tiny_checkpoint):
    return registry.create("daclip_tiny", str(tiny_checkpoint), image_size=64)


def test_contains_names_owner_weights_and_post_load(registry, loaded, tiny_checkpoint):
    report = registry.report(loaded)
    assert report.name == "daclip_tiny"
    assert report.owner.startswith("daclip (registry_core")
    assert report.path == tiny_checkpoint
    assert report.weights == f"file {tiny_checkpoint}"
    assert report.post_load == ["daclip"]
    assert report.left_to_owner == ["visual_control", "logit_scale"]
    assert (report.missing, report.unexpected, report.misshaped) == ([], [], {})
    assert not report.random


def test_is_json_for_programs(registry, loaded):
    data = json.loads(json.dumps(registry.report(loaded).to_dict()))
    assert data["name"] == "daclip_tiny"
    assert data["config"]["architecture"] == "daclip"
    assert data["random"] is False
    assert data["settled"] == [{"key": "vision_cfg.image_size", "value": 64, "by": "the caller"}]


def test_prints_as_a_table(registry, loaded, tiny_checkpoint):
    text = str(registry.report(loaded))
    for words in ("daclip_tiny", str(tiny_checkpoint), "vision_cfg.image_size = 64 (by the caller)", "visual_control"):
        assert words in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_computes_the_sha256_of_a_users_file(registry, loaded, tiny_checkpoint):
    assert registry.report(loaded).sha256 == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()


def test_of_random_values_has_no_file_and_no_sha256(registry):
    report = registry.report(registry.create("tiny", False))
    assert (report.random, report.path, report.sha256) == (True, None, "")
    assert report.to_dict()["path"] is None


def test_is_copied_with_the_model(registry, loaded):
    assert registry.report(copy.deepcopy(loaded)).name == "daclip_tiny"


@pytest.mark.parametrize("part", [lambda m: m.clip, torch.nn.Sequential, lambda m: torch.nn.Linear(1, 1)])
def test_of_another_module_is_an_error(registry, loaded, part):
    module = part(loaded)
    with pytest.raises(
        RegistryError, match=r"has no load report: it was not made by registry\.create.*that create\(\)"
    ) as caught:
        registry.report(module)
    assert caught.value.found == type(module).__name__


def test_tables_contain_no_terminal_codes(registry, loaded, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in str(registry.report(loaded))
