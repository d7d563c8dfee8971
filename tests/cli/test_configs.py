"""`--config`: the user's configs reach every command, and the environment is restored afterwards."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from registry_core import ConfigError, Registry, TakenNameError
from registry_core.cli import _parser, main
from registry_core.cli.configs import with_configs

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


def error_of(error, *arguments):
    """The error that the option raises before the command runs."""
    options = _parser().parse_args([*map(str, arguments)])
    with pytest.raises(error) as caught, with_configs(Registry(), options):
        pass
    return caught.value


def test_it_may_be_given_before_and_after_the_commands_name(capsys, mine, tmp_path):
    other = write(tmp_path / "other.json", RAW)
    for arguments in (
        ("--config", mine, "list", "--config", other),
        ("list", "--config", other, "--config", mine),
        ("--config", mine, "--config", other, "list"),
    ):
        assert {"mine", "other", "daclip_mine"} <= set(printed(capsys, *arguments))


def test_a_folder_adds_all_its_configs(capsys, tmp_path):
    write(tmp_path / "configs" / "one.json", RAW)
    write(tmp_path / "configs" / "package.json", {"name": "web"})
    found = printed(capsys, "list", "--config", tmp_path / "configs")
    assert "one" in found
    assert "package" not in found


def test_actions_of_the_cache_accept_it(capsys, mine):
    assert printed(capsys, "--config", mine, "cache", "--config", mine, "list", "--config", mine)["files"] == []
    assert "absent.json" in refused(capsys, "cache", "list", "--config", "absent.json")


def test_the_installed_command_knows_the_model(command, mine, tmp_path):
    done = subprocess.run(
        [command, "create", "daclip_mine", "--device", "meta", "--config", mine.name, "--json"],
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


def test_it_adds_to_the_variable(capsys, mine, tmp_path, monkeypatch):
    write(tmp_path / "configs" / "theirs.json", RAW)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "configs"))
    assert {"mine", "theirs"} <= set(printed(capsys, "list", "--config", mine))


def test_the_file_that_the_variable_names_is_one_config(capsys, mine, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(mine))
    assert "mine" in printed(capsys, "list", "--config", mine)


class TestMistakes:
    def test_the_name_of_a_plugins_model_is_refused(self, capsys, tmp_path):
        said = refused(capsys, "list", "--config", write(tmp_path / "ViT-B-32.json", RAW))
        assert said.startswith("registry-core: There is already a model 'ViT-B-32'")
        assert said.endswith("--config names a model after its file: rename the file.\n")

    def test_the_name_of_a_derived_model_is_refused(self, tmp_path):
        path = write(tmp_path / "daclip_ViT-B-32.json", RAW)
        error = error_of(TakenNameError, "list", "--config", path)
        assert (error.name, error.found) == ("daclip_ViT-B-32", str(path))

    def test_another_config_of_a_name_on_the_path_is_refused(self, mine, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(write(tmp_path / "theirs" / "mine.json", RAW).parent))
        assert error_of(TakenNameError, "list", "--config", mine).name == "mine"

    def test_two_files_of_one_name_are_refused(self, mine, tmp_path):
        other = write(tmp_path / "other" / "mine.json", RAW)
        error = error_of(ConfigError, "--config", mine, "list", "--config", other)
        assert (error.name, error.argument) == ("mine", "--config")
        assert error.found == (str(mine), str(other))

    def test_a_missing_file_is_named(self):
        error = error_of(ConfigError, "list", "--config", "nowhere.json")
        assert (error.argument, str(error.path)) == ("--config", "nowhere.json")

    @pytest.mark.parametrize(
        ("content", "problems"),
        [
            ("{not json", []),
            ("[1]", []),
            (json.dumps({key: RAW[key] for key in ("embed_dim", "vision_cfg")}), ["text_cfg"]),
            (json.dumps({"architecture": "coco"}), []),
        ],
    )
    def test_a_file_that_is_no_config_is_named(self, capsys, tmp_path, content, problems):
        path = tmp_path / "bad.json"
        path.write_text(content)
        said = refused(capsys, "list", "--config", path)
        assert said.startswith("registry-core: --config")
        assert str(path) in said
        assert "Traceback" not in said
        assert list(error_of(ConfigError, "list", "--config", path).problems) == problems
