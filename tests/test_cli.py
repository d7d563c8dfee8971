# ruff: noqa: ARG002 - a fixture may only set the stage
"""The installed command, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("registry-core")
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2, "vocab_size": 600, "context_length": 16},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "tiny.json").write_text(json.dumps(TINY))
    monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))

    def run(*arguments, **environment):
        env = {**os.environ, **environment}
        return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, env=env)

    return run


def good(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestTables:
    def test_list(self, run):
        out = good(run("list", "*ViT-B-32"))
        assert "daclip_ViT-B-32" in out
        assert re.search(r"(?m)^ ?ViT-B-32 .*and \d+ more$", out)

    def test_show(self, run):
        out = good(run("show", "tiny"))
        assert "embed_dim" in out
        assert "width: 32" in out

    def test_explain(self, run):
        out = good(run("explain", "daclip_ViT-B-32", "--pretrained", "openai", "--set", "image_size=256"))
        assert "picture 256x256" in out
        assert "quick_gelu = True (by tag 'openai')" in out

    def test_create(self, run):
        out = good(run("create", "daclip_tiny"))
        assert "random values" in out
        assert "daclip" in out

    def test_create_says_that_random_weights_are_meant(self, run):
        assert "RandomWeightsWarning" in run("create", "tiny").stderr
        done = run("create", "tiny", "--random")
        assert "random values" in good(done)
        assert done.stderr == ""
        refused = run("create", "tiny", "--random", "--pretrained", "x.pt")
        assert refused.returncode == 1
        assert "--random and --pretrained exclude each other" in refused.stderr

    def test_save(self, run, tmp_path):
        out = good(run("save", "tiny", str(tmp_path / "folder"), "--random"))
        assert "random values" in out
        assert re.search(r"open_clip_model\.safetensors, [\d,]+ bytes", out)

    def test_plugins(self, run):
        out = good(run("plugins"))
        assert "registry_plugins.openai_clip.plugin" in out

    def test_piped_lines_are_whole(self, run):
        out = good(run("explain", "ViT-B-32", "--pretrained", "openai", COLUMNS="80"))
        assert max(map(len, out.splitlines())) > 80
        assert "/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt" in out
        assert "…" not in out

    def test_have_no_terminal_codes(self, run):
        assert "\x1b" not in good(run("list", "*tiny*", FORCE_COLOR="1"))


class TestJson:
    def data(self, run, *arguments):
        return json.loads(good(run(*arguments, "--json")))

    def test_list(self, run):
        data = self.data(run, "list", "ViT-B-32")
        assert list(data) == ["ViT-B-32"]
        assert {"openai", "laion2b_s34b_b79k"} <= set(data["ViT-B-32"])

    def test_show(self, run):
        data = self.data(run, "show", "daclip_tiny")
        assert data["config"]["architecture"] == "daclip"
        assert data["pretrained"] == []

    def test_explain(self, run):
        data = self.data(run, "explain", "tiny", "--set", 'vision_cfg={"layers": 1}', "--set", "quick_gelu=true")
        assert data["config"]["vision_cfg"]["layers"] == 1
        assert data["config"]["quick_gelu"] is True

    def test_create_from_a_file(self, run, tmp_path):
        import torch

        from registry_core import Registry

        registry = Registry()
        path = tmp_path / "w.pt"
        torch.save(registry.create("tiny", False).state_dict(), path)
        data = self.data(run, "create", "tiny", "--pretrained", str(path), "--tower", "image", "--precision", "bf16")
        assert data["path"] == str(path)
        assert (data["tower"], data["precision"]) == ("image", "bf16")
        assert not [name for name in data["loaded"] if name.startswith("transformer.")]

    def test_save(self, run, tmp_path):
        import torch

        from registry_core import Registry

        torch.save(Registry().create("tiny", False).state_dict(), tmp_path / "w.pt")
        data = self.data(run, "save", "tiny", str(tmp_path / "folder"), "--pretrained", str(tmp_path / "w.pt"))
        assert data["report"]["path"] == str(tmp_path / "w.pt")
        assert data["files"] == {path.name: path.stat().st_size for path in (tmp_path / "folder").iterdir()}
        assert self.data(run, "create", f"local-dir:{tmp_path / 'folder'}")["loaded"] == data["report"]["loaded"]

    def test_plugins(self, run):
        rows = self.data(run, "plugins")
        assert {row["plugin"] for row in rows} >= {"openai_clip", "daclip"}
        assert set(rows[0]) >= {"plugin", "distribution", "version", "module", "error"}


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["show", "ViT-B-33"], "There is no model 'ViT-B-33'. Did you mean"),
            (["explain", "ViT-B-32", "--pretrained", "openay"], "Did you mean openai"),
            (["explain", "tiny", "--set", "image_size"], "expected KEY=VALUE"),
            (["explain", "tiny", "--set", "image_sise=3"], "unknown key. Did you mean image_size"),
            (["explain", "tiny", "--set", "name=x"], "unknown key"),
            (["create", "tiny", "--device", "meta", "--set", "device=cpu"], "unknown key"),
            (["explain", "tiny", "--set", "image_size=big"], "got 'big'"),
            (["create", "tiny", "--precision", "fp31"], "precision='fp31' is unknown"),
            (["create", "tiny", "--device", "warp"], "device='warp' cannot be used"),
            (["create", "tiny", "--pretrained", __file__], "is no checkpoint that is known here"),
            (["save", "tiny", __file__, "--random"], "cannot be made a folder"),
            (["push", "tiny", "--random", "--repo", "x"], "'x' is no repository of the hub"),
        ],
    )
    def test_are_one_message_and_exit_code_1(self, run, arguments, words):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("registry-core: ")
        assert words in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("arguments", [[], ["lst"], ["show"], ["create", "tiny", "--tower", "both"], ["push", "x"]])
    def test_of_usage_are_exit_code_2(self, run, arguments):
        done = run(*arguments)
        assert done.returncode == 2
        assert "usage: registry-core" in done.stderr

    def test_a_broken_plugin_is_listed_and_the_rest_works(self, run, tmp_path):
        info = tmp_path / "brittle-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[registry_core.plugins]\nbad = surely_not_installed\n")
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        rows = {row["plugin"]: row for row in json.loads(good(run("plugins", "--json", PYTHONPATH=path)))}
        assert "No module named 'surely_not_installed'" in rows["bad"]["error"]
        assert rows["openai_clip"]["error"] == ""
        assert "tiny" in good(run("list", "tiny", PYTHONPATH=path))

    def test_a_reader_that_leaves_early_is_no_error(self, run):
        process = subprocess.Popen(
            [COMMAND, "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 0
        assert stderr == ""


def test_python_m_is_the_same_command(run):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "registry_core", "list", "*tiny", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"tiny", "daclip_tiny"} <= set(json.loads(done.stdout))


@pytest.mark.parametrize("command", ["list", "plugins", "explain"])
def test_what_only_looks_things_up_works_without_torch(run, command):
    more = ["ViT-B-32", "--pretrained", "openai"] if command == "explain" else []
    code = "import sys; sys.modules['torch'] = None; from registry_core.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, command, *more], capture_output=True, text=True, check=False
    )
    assert "openai" in good(done)
