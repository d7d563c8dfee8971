"""`--config`: the user's configs reach every command, and nothing of them stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_core.cli import _parser, main

COMMAND = Path(sys.executable).with_name("registry-core")
VARIABLE = "REGISTRY_CORE_CONFIG_PATH"
RAW = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2, "vocab_size": 600, "context_length": 16},
}


@pytest.fixture
def mine(tmp_path):
    return write(tmp_path / "mine.json", RAW)


def write(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def printed(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def parsers(parser):
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from parsers(inner)


def test_every_command_and_its_actions_have_it():
    found = list(parsers(_parser()))
    assert {"registry-core list", "registry-core cache verify", "registry-core"} <= {parser.prog for parser in found}
    assert not [parser.prog for parser in found if "--config" not in parser._option_string_actions]


def test_it_may_stand_before_and_after_the_commands_name(capsys, mine, tmp_path):
    other = write(tmp_path / "other.json", RAW)
    for arguments in (
        ("--config", mine, "list", "--config", other),
        ("list", "--config", other, "--config", mine),
        ("--config", mine, "--config", other, "list"),
    ):
        assert {"mine", "other", "daclip_mine"} <= set(printed(capsys, *arguments))


def test_a_folder_is_taken(capsys, tmp_path):
    write(tmp_path / "configs" / "one.json", RAW)
    write(tmp_path / "configs" / "package.json", {"name": "web"})
    found = printed(capsys, "list", "--config", tmp_path / "configs")
    assert "one" in found
    assert "package" not in found


def test_actions_of_the_cache_take_it(capsys, mine):
    assert printed(capsys, "--config", mine, "cache", "--config", mine, "list", "--config", mine)["files"] == []
    assert "absent.json" in refused(capsys, "cache", "list", "--config", "absent.json")


def test_the_process_and_its_children_know_the_model(mine, tmp_path):
    done = subprocess.run(
        [COMMAND, "create", "daclip_mine", "--device", "meta", "--config", mine.name, "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["name"] == "daclip_mine"


@pytest.mark.parametrize("before", [None, "configs"])
def test_the_environment_is_as_before(capsys, mine, monkeypatch, before):
    if before:
        folder = mine.parent / before
        write(folder / "theirs.json", RAW)
        monkeypatch.setenv(VARIABLE, str(folder))
    value = os.environ.get(VARIABLE)
    assert "mine" in printed(capsys, "list", "--config", mine)
    assert "no model 'no-such'" in refused(capsys, "show", "no-such", "--config", mine)
    assert os.environ.get(VARIABLE) == value
    assert "mine" not in printed(capsys, "list")


def test_it_comes_beside_the_variable(capsys, mine, tmp_path, monkeypatch):
    write(tmp_path / "configs" / "theirs.json", RAW)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "configs"))
    assert {"mine", "theirs"} <= set(printed(capsys, "list", "--config", mine))


def test_the_file_that_the_variable_names_is_one_config(capsys, mine, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(mine))
    assert "mine" in printed(capsys, "list", "--config", mine)


class TestMistakes:
    @pytest.mark.parametrize("name", ["ViT-B-32", "daclip_ViT-B-32"])
    def test_a_name_that_a_plugin_has_is_refused(self, capsys, tmp_path, name):
        said = refused(capsys, "list", "--config", write(tmp_path / f"{name}.json", RAW))
        assert f"There is already a model '{name}'" in said
        assert "--config named it; the file's stem is the model's name: rename the file." in said

    def test_another_config_of_a_name_on_the_path_is_refused(self, capsys, mine, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(write(tmp_path / "theirs" / "mine.json", RAW).parent))
        assert "There is already a model 'mine'" in refused(capsys, "list", "--config", mine)

    def test_two_files_of_one_name_are_refused(self, capsys, mine, tmp_path):
        other = write(tmp_path / "other" / "mine.json", RAW)
        said = refused(capsys, "--config", mine, "list", "--config", other)
        assert f"--config leads to two configs named 'mine': {mine} and {other}" in said

    def test_a_missing_file_is_named(self, capsys):
        assert "--config names nowhere.json, which does not exist. Correct it" in refused(
            capsys, "list", "--config", "nowhere.json"
        )

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{not json", "could not be read as a JSON config"),
            ("[1]", "holds a JSON list, expected an object"),
            (json.dumps({key: RAW[key] for key in ("embed_dim", "vision_cfg")}), "text_cfg: missing"),
            (json.dumps({"architecture": "coco"}), "No plugin claims the config"),
        ],
    )
    def test_a_file_that_is_no_config_is_named(self, capsys, tmp_path, content, words):
        path = tmp_path / "bad.json"
        path.write_text(content)
        said = refused(capsys, "list", "--config", path)
        assert said.startswith("registry-core: --config")
        assert str(path) in said
        assert words in said
        assert "Traceback" not in said
