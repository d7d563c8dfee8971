"""The commands about models: list, show, explain, create."""

from __future__ import annotations

import re

import torch

from registry_core import Registry


class TestList:
    def test_prints_a_table(self, output_of):
        out = output_of("list", "*ViT-B-32")
        assert "daclip_ViT-B-32" in out
        assert re.search(r"(?m)^ ?ViT-B-32 .*and \d+ more$", out)

    def test_prints_json(self, json_of):
        data = json_of("list", "ViT-B-32")
        assert list(data) == ["ViT-B-32"]
        assert {"openai", "laion2b_s34b_b79k"} <= set(data["ViT-B-32"])


class TestShow:
    def test_prints_a_table(self, output_of):
        out = output_of("show", "tiny")
        assert "embed_dim" in out
        assert "width: 32" in out

    def test_prints_json(self, json_of):
        data = json_of("show", "daclip_tiny")
        assert data["config"]["architecture"] == "daclip"
        assert data["pretrained"] == []


class TestExplain:
    def test_prints_a_table(self, output_of):
        out = output_of("explain", "daclip_ViT-B-32", "--pretrained", "openai", "--set", "image_size=256")
        assert "image 256x256" in out
        assert "quick_gelu = True (by tag 'openai')" in out

    def test_prints_json(self, json_of):
        data = json_of("explain", "tiny", "--set", 'vision_cfg={"layers": 1}', "--set", "quick_gelu=true")
        assert data["config"]["vision_cfg"]["layers"] == 1
        assert data["config"]["quick_gelu"] is True


class TestCreate:
    def test_prints_a_table(self, output_of):
        out = output_of("create", "daclip_tiny")
        assert "random values" in out
        assert "daclip" in out

    def test_warns_of_random_weights_unless_they_are_asked_for(self, run_command):
        assert "RandomWeightsWarning" in run_command("create", "tiny").stderr
        done = run_command("create", "tiny", "--random")
        assert done.returncode == 0
        assert "random values" in done.stdout
        assert done.stderr == ""

    def test_prints_json_of_a_file(self, json_of, tmp_path, tiny_config):
        registry = Registry()
        registry.add_config(tiny_config)
        path = tmp_path / "w.pt"
        torch.save(registry.create("tiny", False).state_dict(), path)
        data = json_of("create", "tiny", "--pretrained", str(path), "--tower", "image", "--precision", "bf16")
        assert data["path"] == str(path)
        assert (data["tower"], data["precision"]) == ("image", "bf16")
        assert not [name for name in data["loaded"] if name.startswith("transformer.")]
