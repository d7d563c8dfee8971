# ruff: noqa: ARG002 - a fixture may only set the stage
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_core import ConfigError, OverrideError, Registry, TakenNameError

RAW = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2, "vocab_size": 600, "context_length": 16},
}

OTHER = {**RAW, "embed_dim": 24}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "configs"
    place.mkdir()
    return place


def write(path, data):
    path.write_text(json.dumps(data))
    return path


class TestAddConfig:
    def test_a_file_gives_a_model_and_its_da_clip_by_its_stem(self, folder):
        registry = Registry()
        path = write(folder / "tiny.json", RAW)
        assert registry.add_config(path) == "tiny"
        assert {"tiny", "daclip_tiny"} <= set(registry.list_models())
        assert registry.config("daclip_tiny").architecture == "daclip"
        assert registry.explain("tiny").origin == registry.explain("daclip_tiny").origin == str(path)
        assert registry.explain("daclip_tiny").base == "tiny"
        assert registry.create("daclip_tiny", False).clip.visual is not None

    def test_a_name_overrules_the_stem(self, folder):
        assert Registry().add_config(str(write(folder / "x.json", RAW)), "other") == "other"

    def test_a_mapping_needs_a_name(self):
        assert Registry().add_config(RAW, "mine") == "mine"
        with pytest.raises(ConfigError, match=r"needs a name: add_config\(mapping, name='my-model'\)"):
            Registry().add_config(RAW)

    def test_the_hubs_form_is_read(self, folder):
        hub = {"model_cfg": RAW, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"}}
        registry = Registry()
        registry.add_config(write(folder / "open_clip_config.json", hub), "from-hub")
        config = registry.config("from-hub")
        assert config.embed_dim == 16
        assert config.preprocess_cfg.mean == (0.5, 0.5, 0.5)
        assert config.preprocess_cfg.resize_mode == "squash"

    def test_what_save_writes_is_read(self, registry, tmp_path):
        for name in ("tiny", "daclip_tiny"):
            folder = registry.save(registry.create(name, False), tmp_path / name)
            registry.add_config(folder / "open_clip_config.json", f"saved-{name}")
            again = registry.config(f"saved-{name}")
            assert again.architecture == registry.config(name).architecture
            assert again.vision_cfg == registry.config(name).vision_cfg

    @pytest.mark.parametrize("taken", ["ViT-B-32", "daclip_ViT-B-32", "tiny", "daclip_tiny"])
    def test_a_taken_name_is_refused_and_nothing_replaced(self, registry, taken):
        before = registry.config(taken)
        with pytest.raises(TakenNameError, match=rf"already a model '{taken}'.*never replaces.*another name"):
            registry.add_config(RAW, taken)
        assert registry.config(taken) == before

    @pytest.mark.parametrize("name", ["my/model", "openai_clip::mine", " "])
    def test_a_name_that_would_not_be_found_again_is_refused(self, name):
        registry = Registry()
        with pytest.raises(ConfigError, match=r"A model cannot be named .* No model was added"):
            registry.add_config(RAW, name)
        assert name not in registry.list_models()

    def test_a_config_without_text_cfg_is_an_error_and_does_not_vanish(self):
        with pytest.raises(ConfigError, match=r"(?m)^  text_cfg: missing\.$"):
            Registry().add_config({key: value for key, value in RAW.items() if key != "text_cfg"}, "half")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{not json", "could not be read as a JSON config: .* No model was added"),
            (b"\xff\xfe\x00", "could not be read as a JSON config"),
            (b"[1, 2]", "holds a JSON list, expected an object"),
        ],
    )
    def test_an_unreadable_file_is_named(self, folder, content, words):
        path = folder / "bad.json"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=words) as caught:
            Registry().add_config(path)
        assert str(path) in str(caught.value)

    def test_an_absent_file_is_named(self, folder):
        with pytest.raises(ConfigError, match=r"absent\.json could not be read"):
            Registry().add_config(folder / "absent.json")

    def test_a_custom_architecture_that_nobody_has_is_refused(self):
        with pytest.raises(ConfigError, match=r"No plugin claims the config .*its architecture is 'coco'"):
            Registry().add_config({**RAW, "architecture": "coco"}, "mine")


class TestConfigPath:
    @pytest.fixture
    def on_path(self, folder, monkeypatch):
        write(folder / "tiny.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))
        return folder

    def test_is_seen_by_this_process(self, on_path):
        registry = Registry()
        assert {"tiny", "daclip_tiny"} <= set(registry.list_models())
        assert registry.explain("tiny").origin == str(on_path / "tiny.json")

    def test_is_seen_by_a_child_process(self, on_path):
        code = "from registry_core import registry; print(registry.config('daclip_tiny').embed_dim)"
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "16"

    def test_is_seen_by_the_command(self, on_path):
        command = Path(sys.executable).with_name("registry-core")
        done = subprocess.run([command, "list", "*tiny*", "--json"], capture_output=True, text=True, check=True)
        assert {"daclip_tiny": [], "tiny": []}.items() <= json.loads(done.stdout).items()

    def test_may_name_several_folders_and_files(self, on_path, tmp_path, monkeypatch):
        single = write(tmp_path / "single.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", os.pathsep.join([str(on_path), "", str(single)]))
        assert {"tiny", "single"} <= set(Registry().list_models())

    def test_that_does_not_exist_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(tmp_path / "nowhere"))
        with pytest.raises(ConfigError, match=r"REGISTRY_CORE_CONFIG_PATH names .*nowhere, which does not exist"):
            Registry().list_models()

    def test_that_is_no_path_is_an_error(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", "~nobody-of-this-name/x")
        with pytest.raises(OverrideError, match=r"REGISTRY_CORE_CONFIG_PATH='~nobody.*' is no path that this system"):
            Registry().list_models()

    def test_with_two_configs_of_one_name_is_an_error(self, on_path, tmp_path, monkeypatch):
        other = tmp_path / "other"
        other.mkdir()
        write(other / "tiny.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", os.pathsep.join([str(on_path), str(other)]))
        with pytest.raises(ConfigError, match=r"two configs named 'tiny': .*configs/tiny\.json and .*other/tiny\.json"):
            Registry().list_models()

    def test_without_text_cfg_is_listed_and_an_error_when_asked_for(self, on_path):
        write(on_path / "half.json", {key: value for key, value in RAW.items() if key != "text_cfg"})
        registry = Registry()
        assert "half" in registry.list_models()
        with pytest.raises(ConfigError, match=r"(?s)half\.json does not validate.*text_cfg: missing"):
            registry.config("half")
        assert registry.config("tiny").embed_dim == 16

    def test_with_nonsense_in_one_config_takes_no_plugin_down(self, on_path):
        write(on_path / "odd.json", {"embed_dim": 3, "vision_cfg": [1, 2]})
        registry = Registry()
        assert {"odd", "daclip_tiny", "daclip_ViT-B-32"} <= set(registry.list_models())
        assert not [plugin for plugin in registry.plugins() if plugin.error]
        with pytest.raises(ConfigError, match=r"(?s)odd\.json does not validate.*vision_cfg: "):
            registry.config("odd")

    def test_of_a_taken_name_is_refused_there_too(self, on_path):
        registry = Registry()
        with pytest.raises(TakenNameError, match="already a model 'tiny'"):
            registry.add_config(OTHER, "tiny")

    def test_and_the_same_config_added_is_one_config(self, on_path):
        registry = Registry()
        assert registry.add_config(RAW, "tiny") == registry.add_config(on_path / "tiny.json") == "tiny"
        assert registry.explain("tiny").origin == str(on_path / "tiny.json")

    def test_that_comes_later_than_an_added_config_of_its_name_is_an_error(self, folder, monkeypatch):
        registry = Registry()
        registry.add_config(OTHER, "tiny")
        write(folder / "tiny.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))
        with pytest.raises(
            ConfigError, match=r"two configs named 'tiny': \(mapping\), added in this process, and .*None"
        ):
            registry.config("tiny")

    def test_may_reach_a_file_twice(self, on_path, monkeypatch):
        both = os.pathsep.join([str(on_path), str(on_path / "tiny.json"), str(on_path / ".." / on_path.name)])
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", both)
        assert "tiny" in Registry().list_models()

    @pytest.mark.parametrize("other", [{"name": "web", "dependencies": {}}, {"metadata": {}, "weight_map": {}}, [1, 2]])
    def test_passes_over_json_that_speaks_of_no_model(self, on_path, other):
        write(on_path / "other.json", other)
        assert {"tiny", "other"} & set(Registry().list_models()) == {"tiny"}

    def test_a_file_that_is_named_itself_is_always_taken_for_a_config(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(write(tmp_path / "package.json", {"name": "web"})))
        with pytest.raises(ConfigError, match=r"No plugin claims the config|does not validate"):
            Registry().config("package")

    def test_with_a_broken_file_is_an_error_that_names_it_and_the_variable(self, on_path):
        (on_path / "bad.json").write_text("{not json")
        with pytest.raises(ConfigError, match=r"REGISTRY_CORE_CONFIG_PATH: .*bad\.json could not be read as a JSON"):
            Registry().list_models()


class TestAddingAgain:
    def test_the_same_config_is_no_error(self, folder):
        registry = Registry()
        path = write(folder / "tiny.json", RAW)
        assert [registry.add_config(path), registry.add_config(path), registry.add_config(RAW, "tiny")] == ["tiny"] * 3

    def test_another_config_is_refused(self, folder):
        registry = Registry()
        path = write(folder / "tiny.json", RAW)
        registry.add_config(path)
        write(path, OTHER)
        with pytest.raises(TakenNameError, match="already a model 'tiny'"):
            registry.add_config(path)
        assert registry.config("tiny").embed_dim == 16

    def test_a_mapping_that_was_changed_since_is_another_config(self):
        registry = Registry()
        mine = json.loads(json.dumps(RAW))
        registry.add_config(mine, "mine")
        mine["vision_cfg"]["layers"] = 4
        with pytest.raises(TakenNameError, match="already a model 'mine'"):
            registry.add_config(mine, "mine")
        assert registry.config("mine").vision_cfg.layers == 2

    def test_a_config_of_the_path_is_validated(self, folder, monkeypatch):
        half = {key: value for key, value in RAW.items() if key != "text_cfg"}
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))
        with pytest.raises(ConfigError, match="text_cfg: missing"):
            Registry().add_config(write(folder / "half.json", half))


class TestSharing:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", "")  # so that it is put back

    def test_child_processes_know_the_model(self, folder, monkeypatch):
        path = write(folder / "tiny.json", RAW)
        monkeypatch.chdir(folder)
        registry = Registry()
        assert registry.add_config("tiny.json", share=True) == "tiny"
        assert registry.config("tiny").embed_dim == 16
        assert os.environ["REGISTRY_CORE_CONFIG_PATH"] == str(path)
        code = "from registry_core import registry; print(registry.config('daclip_tiny').embed_dim)"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=folder.parent
        )
        assert done.stdout.strip() == "16"

    def test_again_changes_nothing(self, folder):
        path = write(folder / "tiny.json", RAW)
        registry = Registry()
        registry.add_config(path)
        registry.add_config(path, share=True)
        registry.add_config(path, share=True)
        assert os.environ["REGISTRY_CORE_CONFIG_PATH"] == str(path)
        assert Registry().add_config(path) == "tiny"
        assert registry.config("tiny").embed_dim == 16

    def test_what_another_process_would_not_find_is_refused(self, folder):
        path = write(folder / "tiny.json", RAW)
        with pytest.raises(ConfigError, match=r"'mine' cannot be shared.*a mapping\. No model.*a file mine\.json"):
            Registry().add_config(RAW, "mine", share=True)
        with pytest.raises(ConfigError, match=r"'mine' cannot be shared.*tiny\.json\. No model"):
            Registry().add_config(path, "mine", share=True)
        assert os.environ["REGISTRY_CORE_CONFIG_PATH"] == ""

    @pytest.mark.skipif(os.pathsep != ":", reason="a drive's colon is no part of a name")
    def test_a_path_that_the_variable_cannot_hold_is_refused(self, tmp_path):
        odd = tmp_path / "a:b"
        odd.mkdir()
        with pytest.raises(ConfigError, match=r"a:b/tiny\.json cannot be named in REGISTRY_CORE_CONFIG_PATH: ':' sep"):
            Registry().add_config(write(odd / "tiny.json", RAW), share=True)
