"""The installed command as a process of its own, with a small model `tiny`."""

from __future__ import annotations

import json
import os
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
def command():
    """The path of the installed command."""
    return COMMAND


@pytest.fixture
def tiny_config(tmp_path):
    """The JSON config of `tiny`."""
    path = tmp_path / "configs" / "tiny.json"
    path.parent.mkdir()
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture
def run_command(tiny_config, monkeypatch):
    """run_command("list", NAME="value") -> the finished process; it knows `tiny` and the given variables."""
    monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(tiny_config.parent))

    def run_command(*arguments, **variables):
        environment = {**os.environ, **variables}
        return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, env=environment)

    return run_command


@pytest.fixture
def output_of(run_command):
    """output_of("list") -> the standard output of a command that succeeds."""

    def output_of(*arguments, **variables):
        done = run_command(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return output_of


@pytest.fixture
def json_of(output_of):
    """json_of("list") -> what a command that succeeds prints with `--json`."""
    return lambda *arguments, **variables: json.loads(output_of(*arguments, "--json", **variables))
