from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from registry_core import OverrideError, UnknownModelError, UnknownWeightsError


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


def test_a_path_is_looked_into(registry, tiny_checkpoint):
    found = registry.explain("tiny", tiny_checkpoint)
    assert found.answered == "registry_core: no plugin answered, and the path exists"
    size = f"{tiny_checkpoint.stat().st_size:,} bytes"
    assert found.places[0].state.endswith(size)
    assert "tensors" in found.places[0].state


def test_a_file_that_create_would_refuse_is_said_to_be_so(registry, tmp_path):
    page = tmp_path / "w.pt"
    page.write_text("<html></html>")
    assert "create would fail: " in registry.explain("tiny", page).places[0].state
    assert "an HTML page" in registry.explain("tiny", page).places[0].state


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
    for words in ("layers 12, width 768", "picture 224x224", "context 77", "QuickGELU", "not here yet", "tag 'openai'"):
        assert words in text


def test_raises_what_create_would_raise(registry):
    with pytest.raises(UnknownModelError, match="There is no model"):
        registry.explain("ViT-B-33")
    with pytest.raises(UnknownWeightsError, match=r"neither|none of its tags"):
        registry.explain("ViT-B-32", "openay")
    with pytest.raises(OverrideError, match="image_sise"):
        registry.explain("ViT-B-32", image_sise=3)


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
