"""The commands about plugins: plugins and doctor. tests/thirdparty tests new-plugin, and plugins that are installed."""

from __future__ import annotations

import json
import os

import pytest

from registry_core.cli import main


@pytest.fixture
def brittle(tmp_path):
    """A PYTHONPATH with a distribution whose plugin cannot be imported."""
    info = tmp_path / "brittle-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[registry_core.plugins]\nbad = surely_not_installed\n")
    return os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))


class TestPlugins:
    def test_prints_a_table(self, output_of):
        assert "registry_plugins.openai_clip.plugin" in output_of("plugins")

    def test_prints_json(self, json_of):
        rows = json_of("plugins")
        assert {row["plugin"] for row in rows} >= {"openai_clip", "daclip"}
        assert set(rows[0]) >= {"plugin", "distribution", "version", "module", "error"}

    def test_lists_a_broken_plugin_and_the_others_work(self, json_of, output_of, brittle):
        rows = {row["plugin"]: row for row in json_of("plugins", PYTHONPATH=brittle)}
        assert "No module named 'surely_not_installed'" in rows["bad"]["error"]
        assert rows["openai_clip"]["error"] == ""
        assert "tiny" in output_of("list", "tiny", PYTHONPATH=brittle)


class TestDoctor:
    def test_succeeds_without_a_problem(self, capsys):
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert "plugin openai_clip (registry_core" in out
        assert out.splitlines()[-1].startswith("0 problems, ")

    def test_fails_with_a_problem(self, run_command, brittle):
        done = run_command("doctor", "--json", PYTHONPATH=brittle)
        assert done.returncode == 1
        (problem,) = [finding for finding in json.loads(done.stdout) if finding["state"] == "problem"]
        assert problem["subject"] == "plugin bad (brittle 1.0)"
