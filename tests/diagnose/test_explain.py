"""Where a model's config and weights come from, and which plugins answer."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from registry_core import OverrideError, Registry, UnknownModelError, UnknownWeightsError


def test_every_field_of_a_tag(registry):
    found = registry.explain("daclip_ViT-B-32", "openai", image_size=256)
    fields = {field.name for field in dataclasses.fields(found)}
    assert fields >= {"name", "asked", "plugin", "owner", "origin", "base", "config", "weights", "answered", "places"}
    assert found.name == "daclip_ViT-B-32"
    assert [name.split()[0] for name in found.asked] == [p.name for p in registry.plugins() if p.active]
    assert found.plugin.startswith("daclip (registry_core")
    assert found.owner.startswith("daclip (registry_core")
    assert found.origin.endswith("models.jsonl")
    assert found.base == "ViT-B-32"
    assert found.config.image_size == (256, 256)
    assert found.weights == "tag 'openai'"
    assert found.answered.startswith("daclip")
    assert [place.state for place in found.places] == ["not here yet"] * len(found.places)
    assert found.places[-1].source.startswith("https://openaipublic.azureedge.net/")
    assert {str(s) for s in found.settled} == {
        "quick_gelu = True (by tag 'openai')",
        "vision_cfg.image_size = 256 (by the caller)",
    }
    assert found.broken == ()


def test_a_checkpoint_is_opened(registry, tiny_checkpoint):
    found = registry.explain("tiny", tiny_checkpoint)
    assert found.answered == "registry_core: no plugin answered, and the path exists"
    size = f"{tiny_checkpoint.stat().st_size:,} bytes"
    assert found.places[0].state.endswith(size)
    assert "tensors" in found.places[0].state


def test_a_file_that_create_would_refuse_has_the_reason(registry, tmp_path):
    page = tmp_path / "w.pt"
    page.write_text("<html></html>")
    state = registry.explain("tiny", page).places[0].state
    assert state.startswith("create would fail: ")
    assert "HTML page" in state


def test_no_weights_are_random_values(registry):
    found = registry.explain("tiny")
    assert (found.weights, found.answered, found.places) == ("none asked for: random values", "", ())


@pytest.mark.parametrize(("name", "tag"), [("tiny", None), ("ViT-B-32", "openai"), ("daclip_ViT-B-32", "openai")])
def test_is_json_for_programs(registry, name, tag):
    data = json.loads(json.dumps(registry.explain(name, tag).to_dict()))
    assert data["name"] == name
    assert data["config"] == json.loads(json.dumps(registry.explain(name, tag).config.raw()))


def test_is_a_table_for_people(registry):
    text = str(registry.explain("ViT-B-32", "openai"))
    for words in ("layers 12, width 768", "image 224x224", "context 77", "QuickGELU", "not here yet", "tag 'openai'"):
        assert words in text


@pytest.mark.parametrize(
    ("error", "name", "tag", "overrides"),
    [
        (UnknownModelError, "ViT-B-33", None, {}),
        (UnknownWeightsError, "ViT-B-32", "openay", {}),
        (OverrideError, "ViT-B-32", None, {"image_sise": 3}),
    ],
)
def test_raises_what_create_would_raise(registry, error, name, tag, overrides):
    errors = []
    for method in (registry.explain, registry.create):
        with pytest.raises(error) as caught:
            method(name, tag, **overrides)
        errors.append(caught.value)
    assert str(errors[0]) == str(errors[1])


class TestSteps:
    def test_show_which_plugins_were_asked_and_which_answered(self, registry):
        first, *others = registry.explain("daclip_ViT-B-32", "openai").steps
        assert (first.hook, first.about, first.depth) == ("resolve_config", "'daclip_ViT-B-32'", 0)
        assert {"openai_clip", "daclip"} <= set(first.asked)
        assert [answer.plugin for answer in first.answers] == ["daclip"]
        assert {step.hook for step in others} == {"resolve_config", "resolve_pretrained"}
        assert any(step.depth for step in others)

    def test_print_as_a_table(self, registry):
        text = str(registry.explain("daclip_ViT-B-32", "openai"))
        assert "resolve_pretrained 'openai' of 'daclip_ViT-B-32'" in text
        assert "  resolve_config 'ViT-B-32'" in text

    def test_print_that_no_plugin_answered(self, registry):
        lines = str(registry.explain("tiny")).splitlines()
        line = next(line for line in lines if line.startswith(" resolve_config 'tiny' "))
        assert line.endswith("   no plugin")


class TestHooks:
    def test_conversion_and_post_load_have_their_files(self, registry):
        found = registry.explain("daclip_ViT-B-32", "openai")
        assert found.conversion.startswith("daclip (registry_core")
        assert "plugin.py:" in found.conversion
        assert found.post_load[0].startswith("daclip (registry_core")

    def test_a_plugin_without_a_conversion(self, registry, add_plugin):
        config = registry.config("tiny")
        own = type("OwnConfig", (type(config),), {"architecture": "own", "__annotations__": {}})
        raw = {**config.raw(), "architecture": "own"}
        add_plugin("own", resolve_config=lambda name: own.parse(raw, name) if name == "mine" else None)
        path = registry.services.plugins()[0].file
        assert registry.explain("mine", path).conversion == (
            "none: own ((registered)) uses the checkpoint's names as they are"
        )


def test_broken_plugins_are_listed(registry, add_plugin):
    def list_models():
        raise ZeroDivisionError("oops")

    plugin = add_plugin("failing", list_models=list_models)
    registry.list_models()
    assert registry.explain("tiny").broken == (f"{plugin}: {plugin.error}",)


def test_plugins_that_are_switched_off_are_listed(monkeypatch):
    monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-coca")
    found = Registry().explain("ViT-B-32")
    assert [line.split()[0] for line in found.switched_off] == ["coca"]
    assert found.switched_off[0].endswith(": by REGISTRY_CORE_PLUGINS")
    assert "coca" not in {name.split()[0] for name in found.asked}


def test_fetches_and_builds_nothing_and_needs_no_torch(tmp_path):
    code = """
import socket, sys
sys.modules["torch"] = None
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.create_connection = refuse
from registry_core import registry
for name in ("ViT-B-32", "daclip_ViT-B-32", "RN50"):
    assert registry.explain(name, "openai").places if not name.startswith("RN") else registry.explain(name)
print(registry.explain("daclip_ViT-B-32", "openai"))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "daclip_ViT-B-32" in done.stdout


def test_a_checkpoint_is_explained_without_torch(tiny_checkpoint):
    code = f"""
import sys
sys.modules["torch"] = None
from registry_core import registry
print(registry.explain("ViT-B-32", {str(tiny_checkpoint)!r}).places[0].state)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "tensors" in done.stdout
