"""The command that saves a model. tests/export tests push."""

from __future__ import annotations

import re

import torch

from registry_core import Registry


def test_prints_a_table(output_of, tmp_path):
    out = output_of("save", "tiny", str(tmp_path / "folder"), "--random")
    assert "random values" in out
    assert re.search(r"open_clip_model\.safetensors, [\d,]+ bytes", out)


def test_prints_json(json_of, tmp_path, tiny_config):
    registry = Registry()
    registry.add_config(tiny_config)
    torch.save(registry.create("tiny", False).state_dict(), tmp_path / "w.pt")
    data = json_of("save", "tiny", str(tmp_path / "folder"), "--pretrained", str(tmp_path / "w.pt"))
    assert data["report"]["path"] == str(tmp_path / "w.pt")
    assert data["files"] == {path.name: path.stat().st_size for path in (tmp_path / "folder").iterdir()}
    assert json_of("create", f"local-dir:{tmp_path / 'folder'}")["loaded"] == data["report"]["loaded"]
