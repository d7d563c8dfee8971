"""Names of the scheme local-dir."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from registry_core import (
    ConfigError,
    ConflictError,
    OverrideError,
    RandomWeightsWarning,
    UnknownModelError,
    UnknownWeightsError,
)

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


def rewrite(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def other_weights(registry, path):
    torch.manual_seed(99)
    torch.save(registry.create("tiny", False).state_dict(), path)
    return path


class TestWeights:
    def test_those_of_the_folder_are_loaded_by_default(self, registry, model, folder, same):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RandomWeightsWarning)
            again = registry.create(f"local-dir:{folder}")
        assert same(model, again)
        report = registry.report(again)
        assert report.path == folder / WEIGHTS
        assert (report.plugin.split()[0], report.owner.split()[0]) == ("hub", "openai_clip")

    def test_false_means_random_ones(self, registry, model, folder, same):
        again = registry.create(f"local-dir:{folder}", pretrained=False)
        assert registry.report(again).random
        assert not same(model, again)

    def test_a_given_path_replaces_them_and_the_report_says_so(self, registry, model, folder, tmp_path, same):
        path = other_weights(registry, tmp_path / "other.pt")
        again = registry.create(f"local-dir:{folder}", pretrained=path)
        assert not same(model, again)
        assert registry.report(again).path == path
        assert any("itself were not read" in note for note in registry.report(again).notes)

    def test_an_unknown_tag_is_an_error(self, registry, folder):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create(f"local-dir:{folder}", pretrained="openai")
        assert caught.value.name == "openai"

    def test_an_empty_shell_reads_none(self, registry, folder):
        (folder / WEIGHTS).unlink()
        shell = registry.create(f"local-dir:{folder}", device="meta")
        assert all(parameter.is_meta for parameter in shell.parameters())

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_one_tower_alone(self, registry, model, folder, tower):
        again = registry.create(f"local-dir:{folder}", tower=tower)
        names = dict(again.named_parameters())
        assert 0 < len(names) < len(dict(model.named_parameters()))
        assert all(torch.equal(value, model.get_parameter(name)) for name, value in names.items())

    def test_weights_of_still_needs_a_path(self, registry, folder):
        with pytest.raises(OverrideError) as caught:
            registry.create(f"local-dir:{folder}", weights_of="openai")
        assert caught.value.argument == "weights_of"

    def test_download_gives_their_path(self, registry, folder):
        assert registry.download(f"local-dir:{folder}") == folder / WEIGHTS

    def test_download_without_a_tag_of_another_name_is_an_error(self, registry):
        with pytest.raises(OverrideError) as caught:
            registry.download("tiny")
        assert (caught.value.argument, caught.value.found) == ("tag", None)


class TestWhichFile:
    @pytest.mark.parametrize("name", ["epoch_32.pt", "model.pth", "pytorch_model.bin"])
    def test_a_single_file_may_have_any_name(self, registry, model, folder, same, name):
        torch.save({"state_dict": load_file(folder / WEIGHTS)}, folder / name)
        (folder / WEIGHTS).unlink()
        again = registry.create(f"local-dir:{folder}")
        assert same(model, again)
        assert registry.report(again).path == folder / name

    def test_usual_names_go_before_others_and_safe_formats_first(self, registry, model, folder, same):
        usual = ["open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors", WEIGHTS]
        other_weights(registry, folder / "other.pt")
        kept = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).unlink()
        for name in usual:
            if name.endswith(".bin"):
                other_weights(registry, folder / name)
            else:
                (folder / name).write_bytes(kept)
            again = registry.create(f"local-dir:{folder}")
            assert registry.report(again).path == folder / name
        assert same(model, again)

    def test_several_are_an_error_that_names_them(self, registry, folder):
        (folder / WEIGHTS).rename(folder / "a.safetensors")
        other_weights(registry, folder / "b.pt")
        message = r"several files .*: a\.safetensors, b\.pt\. .*Nothing was built\. .*pretrained='.*a\.safetensors'"
        with pytest.raises(ConflictError, match=message) as caught:
            registry.create(f"local-dir:{folder}")
        assert (caught.value.path, caught.value.found) == (folder, ["a.safetensors", "b.pt"])

    def test_a_folder_without_weights_is_an_error(self, registry, folder):
        (folder / WEIGHTS).rename(folder / "notes.txt")
        message = r"a config and no weights: .*notes\.txt.*Nothing was built\. .*pretrained=False"
        with pytest.raises(UnknownWeightsError, match=message) as caught:
            registry.create(f"local-dir:{folder}")
        assert caught.value.path == folder
        assert "notes.txt" in caught.value.found
        assert registry.report(registry.create(f"local-dir:{folder}", False)).random

    def test_a_folder_named_like_weights_is_not_a_file_of_weights(self, registry, folder):
        (folder / WEIGHTS).unlink()
        (folder / "old.pt").mkdir()
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create(f"local-dir:{folder}")
        assert "old.pt" in caught.value.found

    def test_preprocessing_needs_none(self, registry, folder):
        (folder / WEIGHTS).unlink()
        assert registry.preprocess(f"local-dir:{folder}").size == (64, 64)


class TestNames:
    def test_a_relative_path_keeps_its_slashes(self, registry, model, folder, same, monkeypatch):
        monkeypatch.chdir(folder.parent.parent)
        again = registry.create(f"local-dir:./{folder.parent.name}/saved")
        assert same(model, again)

    def test_the_report_has_an_absolute_path(self, registry, folder, monkeypatch, tmp_path):
        monkeypatch.chdir(folder.parent)
        again = registry.create("local-dir:saved")
        monkeypatch.chdir("/")
        assert registry.report(again).home.config.path == folder / CONFIG
        assert registry.report(again).to_dict()["home"] == str(folder / CONFIG)
        assert registry.save(again, tmp_path / "more") == tmp_path / "more"

    def test_the_users_home(self, registry, model, folder, same, monkeypatch):
        monkeypatch.setenv("HOME", str(folder.parent))
        assert same(model, registry.create("local-dir:~/saved"))

    def test_a_path_with_two_colons(self, registry, model, folder, same):
        odd = folder.rename(folder.parent / "a::b")
        assert same(model, registry.create(f"local-dir:{odd}"))

    def test_qualified(self, registry, model, folder, same):
        assert same(model, registry.create(f"hub::local-dir:{folder}"))
        with pytest.raises(UnknownModelError) as caught:
            registry.create(f"daclip::local-dir:{folder}")
        assert caught.value.name.startswith("daclip::local-dir")

    def test_a_config_of_the_user_cannot_have_such_a_name(self, registry):
        with pytest.raises(ConfigError) as caught:
            registry.add_config({"embed_dim": 8}, "local-dir:mine")
        assert caught.value.name == "local-dir:mine"

    def test_they_are_not_listed(self, registry, folder):
        registry.create(f"local-dir:{folder}")
        assert not registry.list_models("local-dir*")


class TestMistakes:
    def test_no_such_folder(self, registry, folder):
        message = r"the folder .*savd does not exist\. Did you mean saved\? Nothing was built"
        with pytest.raises(UnknownModelError, match=message) as caught:
            registry.create(f"local-dir:{folder.parent}/savd")
        assert (caught.value.path, caught.value.suggestions) == (folder.parent / "savd", ["saved"])

    def test_no_such_parent(self, registry, tmp_path):
        with pytest.raises(UnknownModelError) as caught:
            registry.create(f"local-dir:{tmp_path}/no/where")
        assert (caught.value.path, caught.value.suggestions) == (tmp_path / "no" / "where", [])

    @pytest.mark.parametrize("address", ["", "  "])
    def test_no_path(self, registry, address):
        with pytest.raises(UnknownModelError, match=r"names no folder\. Expected local-dir:path/to/folder"):
            registry.create(f"local-dir:{address}")

    def test_a_path_that_is_not_valid(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.create("local-dir:a\0b")
        assert caught.value.name == "local-dir:a\0b"
        with pytest.raises(UnknownModelError, match=r"x' is not a valid path on this system: .*[^.]\.$") as caught:
            registry.create("local-dir:~nobody-of-this-name/x")
        assert isinstance(caught.value.found, str)

    def test_a_file(self, registry, folder):
        message = r"names a file, expected a folder .* Nothing was built\. .* the file as pretrained="
        with pytest.raises(UnknownModelError, match=message) as caught:
            registry.create(f"local-dir:{folder / WEIGHTS}")
        assert caught.value.path == folder / WEIGHTS

    def test_no_config(self, registry, folder):
        (folder / CONFIG).unlink()
        message = rf"has no {re.escape(CONFIG)}\. It holds README.md, {re.escape(WEIGHTS)}\. Nothing .*registry\.save"
        with pytest.raises(ConfigError, match=message) as caught:
            registry.create(f"local-dir:{folder}")
        assert (caught.value.path, caught.value.expected) == (folder, CONFIG)
        assert caught.value.found == ["README.md", WEIGHTS]

    @pytest.mark.parametrize(("name", "error"), [(CONFIG, ConfigError), (WEIGHTS, UnknownWeightsError)])
    def test_a_broken_link_is_reported_as_such(self, registry, folder, name, error):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "gone")
        with pytest.raises(error, match=rf"holds .*{re.escape(name)} \(not a file\)"):
            registry.create(f"local-dir:{folder}")

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become somebody else")
    @pytest.mark.parametrize(("mode", "error"), [(0o600, UnknownModelError), (0o711, UnknownWeightsError)])
    def test_a_folder_that_is_closed_to_the_user(self, registry, folder, mode, error, monkeypatch):
        registry.create(f"local-dir:{folder}")  # everything is imported
        with tempfile.TemporaryDirectory() as opened:  # pytest's own folders are closed to others
            Path(opened).chmod(0o755)
            monkeypatch.setenv("XDG_CONFIG_HOME", opened)
            closed = shutil.copytree(folder, Path(opened) / "closed")
            closed.chmod(mode)
            os.seteuid(65534)
            try:
                with pytest.raises(
                    error, match=r"cannot be read: .*Permission denied.*Nothing was built\. Correct"
                ) as caught:
                    registry.create(f"local-dir:{closed}")
                assert caught.value.path == closed
            finally:
                os.seteuid(0)

    def test_a_folder_of_transformers(self, registry, folder):
        (folder / CONFIG).rename(folder / "config.json")
        with pytest.raises(ConfigError) as caught:
            registry.create(f"local-dir:{folder}")
        assert caught.value.advice.startswith("Its config.json is from another library, such as transformers")

    @pytest.mark.parametrize(
        ("text", "cause"), [("{", json.JSONDecodeError), ("[" * 100_000, RecursionError), ("[1]", None)]
    )
    def test_a_broken_config(self, registry, folder, text, cause):
        (folder / CONFIG).write_text(text)
        with pytest.raises(ConfigError) as caught:
            registry.create(f"local-dir:{folder}")
        assert caught.value.path == folder / CONFIG
        assert cause is None or isinstance(caught.value.__cause__, cause)

    @pytest.mark.parametrize("key", ["hf_model_config", "trust_remote_code", "dtype"])
    @pytest.mark.parametrize("part", ["vision_cfg", "text_cfg", None])
    def test_unknown_keys_are_refused(self, registry, folder, key, part):
        config = json.loads((folder / CONFIG).read_text())["model_cfg"]
        (config if part is None else config[part])[key] = {"auto_map": "evil.Model"}
        rewrite(folder, model_cfg=config)
        with pytest.raises(ConfigError) as caught:
            registry.create(f"local-dir:{folder}")
        assert list(caught.value.problems) == [key if part is None else f"{part}.{key}"]

    def test_an_unknown_architecture(self, registry, folder):
        rewrite(folder, architecture="daclib")
        with pytest.raises(ConfigError) as caught:
            registry.create(f"local-dir:{folder}")
        assert (caught.value.found, caught.value.suggestions) == ("daclib", ["daclip"])


class TestConfig:
    def test_as_open_clip_writes_it(self, registry, model, folder, same):
        config = json.loads((folder / CONFIG).read_text())
        del config["architecture"]
        config["preprocess_cfg"] = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": None}
        (folder / CONFIG).write_text(json.dumps(config))
        again = registry.create(f"local-dir:{folder}")
        assert same(model, again)
        assert registry.preprocess(again).config.mean == (0.5, 0.5, 0.5)
        assert registry.preprocess(again).config.interpolation == "bicubic"

    def test_null_means_the_default(self, registry, model, folder, same):
        rewrite(folder, architecture=None, preprocess_cfg=None)
        assert same(model, registry.create(f"local-dir:{folder}"))

    def test_the_bare_form(self, registry, model, folder, same):
        config = json.loads((folder / CONFIG).read_text())["model_cfg"]
        (folder / CONFIG).write_text(json.dumps(config))
        assert same(model, registry.create(f"local-dir:{folder}"))

    def test_the_caller_overrides_it(self, registry, folder):
        again = registry.create(f"local-dir:{folder}", image_size=32, quick_gelu=True)
        assert again.config.quick_gelu
        assert registry.preprocess(again).size == (32, 32)
        assert "visual.positional_embedding" in registry.report(again).adapted

    def test_explain_names_the_file_and_the_weights(self, registry, folder):
        explanation = registry.explain(f"local-dir:{folder}")
        assert explanation.origin == str(folder / CONFIG)
        assert explanation.plugin.startswith("hub ")
        assert explanation.answered.startswith("hub ")
        assert [source.path for source in explanation.places] == [str(folder / WEIGHTS)]
        assert "safetensors" in explanation.places[0].state

    def test_a_changed_folder_is_read_again(self, registry, folder):
        registry.create(f"local-dir:{folder}")
        shutil.rmtree(folder)
        with pytest.raises(UnknownModelError) as caught:
            registry.create(f"local-dir:{folder}")
        assert caught.value.path == folder
