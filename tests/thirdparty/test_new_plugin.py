"""registry-core new-plugin writes a package that works immediately."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from registry_core.cli import main
from registry_core.errors import RegistryError
from registry_core.scaffold import write_plugin


def test_its_tests_pass_right_after_an_editable_installation(fresh_environment, tmp_path):
    written = fresh_environment.run("-m", "registry_core", "new-plugin", "fresh-clip", cwd=tmp_path)
    assert "pip install -e '.[test]'" in written.stdout
    package = tmp_path / "fresh-clip"
    fresh_environment.install("--editable", package)
    tested = fresh_environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert " passed" in tested.stdout
    shown = fresh_environment.run(
        "-m", "registry_core", "explain", "fresh_clip_ViT-B-32", "--pretrained", "openai", "--json"
    )
    found = json.loads(shown.stdout)
    assert found["plugin"] == "fresh_clip (fresh-clip 0.1.0)"
    assert found["origin"] == str(package / "fresh_clip" / "models.jsonl")
    again = fresh_environment.run("-m", "registry_core", "new-plugin", "fresh_clip", cwd=tmp_path, check=False)
    assert again.returncode == 1
    assert "fresh_clip (fresh-clip 0.1.0)" in again.stderr


def test_no_placeholder_of_the_template_remains(tmp_path):
    written = write_plugin("my-clip", tmp_path / "new", {})
    assert (written.name, written.folder) == ("my_clip", tmp_path / "new")
    for file in written.files:
        text = (written.folder / file).read_text()
        assert "$" not in text, file
        compile(text, str(file), "exec") if file.suffix == ".py" else None
    assert "class MyClipConfig(ModelConfig)" in (written.folder / "my_clip" / "config.py").read_text()
    names = [
        json.loads(line)["name"] for line in (written.folder / "my_clip" / "models.jsonl").read_text().splitlines()
    ]
    assert names == ["my_clip_tiny", "my_clip_ViT-B-32"]


def test_its_package_passes_mypy_strictly(tmp_path):
    pytest.importorskip("mypy")
    written = write_plugin("my-clip", tmp_path / "new", {})
    options = ("--strict", "--follow-imports=silent", "--cache-dir", tmp_path / "cache")
    command = [sys.executable, "-m", "mypy", *options, "my_clip"]
    checked = subprocess.run(command, cwd=written.folder, capture_output=True, text=True, check=False)
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr


def test_the_command_says_what_to_do_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "next_clip"]) == 0
    shown = capsys.readouterr().out
    for words in ("next_clip/model.py", "cd next-clip", "pytest", "registry-core explain next_clip_ViT-B-32"):
        assert words in shown
    assert (tmp_path / "next-clip" / "pyproject.toml").is_file()


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "My Clip", "9lives", "class", "a.b", "größe"])
    def test_an_invalid_name(self, tmp_path, name):
        with pytest.raises(
            RegistryError, match=r"cannot be the name of a plugin .* a letter, such as my_clip"
        ) as caught:
            write_plugin(name, tmp_path / "new", {})
        assert (caught.value.argument, caught.value.found) == ("name", name)
        assert not (tmp_path / "new").exists()

    def test_the_name_of_an_installed_plugin(self, capsys, tmp_path):
        assert main(["new-plugin", "daclip", "--folder", str(tmp_path / "new")]) == 1
        assert "'daclip' is already used by the plugin daclip (registry_core" in capsys.readouterr().err
        with pytest.raises(RegistryError) as caught:
            write_plugin("daclip", tmp_path / "new", {"daclip": "daclip (registry_core 0.1.0)"})
        assert (caught.value.name, caught.value.found) == ("daclip", "daclip (registry_core 0.1.0)")
        assert not (tmp_path / "new").exists()

    def test_the_name_of_an_importable_package(self, tmp_path):
        with pytest.raises(RegistryError, match=r"A package 'torch' can already be imported.*another name") as caught:
            write_plugin("torch", tmp_path / "new", {})
        assert (caught.value.argument, caught.value.name) == ("name", "torch")

    def test_a_folder_that_is_not_empty(self, tmp_path):
        (tmp_path / "mine.txt").write_text("kept")
        with pytest.raises(RegistryError, match=r"is not an empty folder\. Nothing was written.*--folder") as caught:
            write_plugin("my_clip", tmp_path, {})
        assert caught.value.path == tmp_path
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
