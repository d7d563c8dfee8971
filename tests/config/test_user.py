# ruff: noqa: ARG002 - a fixture may only prepare the environment
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
    path = tmp_path / "configs"
    path.mkdir()
    return path


def write(path, data):
    path.write_text(json.dumps(data))
    return path


class TestAddConfig:
    def test_a_file_adds_a_model_and_its_da_clip_under_its_stem(self, folder):
        registry = Registry()
        path = write(folder / "tiny.json", RAW)
        assert registry.add_config(path) == "tiny"
        assert {"tiny", "daclip_tiny"} <= set(registry.list_models())
        assert registry.config("daclip_tiny").architecture == "daclip"
        assert registry.explain("tiny").origin == registry.explain("daclip_tiny").origin == str(path)
        assert registry.explain("daclip_tiny").base == "tiny"
        assert registry.create("daclip_tiny", False).clip.visual is not None

    def test_a_name_replaces_the_stem(self, folder):
        assert Registry().add_config(str(write(folder / "x.json", RAW)), "other") == "other"

    def test_a_mapping_needs_a_name(self):
        assert Registry().add_config(RAW, "mine") == "mine"
        with pytest.raises(ConfigError, match=r"needs a name\..*add_config\(mapping, name='my-model'\)") as caught:
            Registry().add_config(RAW)
        assert caught.value.argument == "name"

    def test_the_form_of_the_hub_is_read(self, folder):
        hub = {"model_cfg": RAW, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"}}
        registry = Registry()
        registry.add_config(write(folder / "open_clip_config.json", hub), "from-hub")
        config = registry.config("from-hub")
        assert config.embed_dim == 16
        assert config.preprocess_cfg.mean == (0.5, 0.5, 0.5)
        assert config.preprocess_cfg.resize_mode == "squash"

    def test_a_config_written_by_save_is_read(self, registry, tmp_path):
        for name in ("tiny", "daclip_tiny"):
            folder = registry.save(registry.create(name, False), tmp_path / name)
            registry.add_config(folder / "open_clip_config.json", f"saved-{name}")
            again = registry.config(f"saved-{name}")
            assert again.architecture == registry.config(name).architecture
            assert again.vision_cfg == registry.config(name).vision_cfg

    @pytest.mark.parametrize("taken", ["ViT-B-32", "daclip_ViT-B-32", "tiny", "daclip_tiny"])
    def test_a_taken_name_is_refused_and_nothing_replaced(self, registry, taken):
        before = registry.config(taken)
        with pytest.raises(TakenNameError) as caught:
            registry.add_config(RAW, taken)
        assert (caught.value.name, caught.value.found) == (taken, "(mapping)")
        assert registry.config(taken) == before

    def test_the_message_of_a_taken_name_states_the_origin_and_what_to_do(self, registry):
        with pytest.raises(
            TakenNameError,
            match=r"^There is already a model 'tiny'; \(mapping\) was not added.*never replaces.*another name",
        ):
            registry.add_config(OTHER, "tiny")

    @pytest.mark.parametrize("name", ["my/model", "openai_clip::mine", " "])
    def test_a_name_that_would_not_be_found_again_is_refused(self, name):
        registry = Registry()
        with pytest.raises(
            ConfigError, match=r"A model cannot be named .* No model was added.*such as 'my-model'"
        ) as caught:
            registry.add_config(RAW, name)
        assert caught.value.name == name
        assert name not in registry.list_models()

    def test_a_config_without_text_cfg_is_an_error(self):
        with pytest.raises(ConfigError) as caught:
            Registry().add_config({key: value for key, value in RAW.items() if key != "text_cfg"}, "half")
        assert caught.value.problems == {"text_cfg": "missing."}

    @pytest.mark.parametrize(
        ("content", "message", "found"),
        [
            (b"{not json", "bad.json could not be read as a JSON config: .* No model was added", None),
            (b"\xff\xfe\x00", "could not be read", None),
            (b"[1, 2]", "bad.json holds a JSON list, expected an object. No model was added", "list"),
        ],
    )
    def test_an_unreadable_file_is_named(self, folder, content, message, found):
        path = folder / "bad.json"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            Registry().add_config(path)
        assert (caught.value.path, caught.value.found) == (path, found)

    def test_an_absent_file_is_named(self, folder):
        with pytest.raises(ConfigError, match="could not be read") as caught:
            Registry().add_config(folder / "absent.json")
        assert caught.value.path == folder / "absent.json"
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_an_architecture_without_a_plugin_is_refused(self):
        with pytest.raises(ConfigError, match=r"No plugin claims the config .*its architecture is 'coco'") as caught:
            Registry().add_config({**RAW, "architecture": "coco"}, "mine")
        assert (caught.value.name, caught.value.found) == ("(mapping)", "coco")


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

    def test_may_list_several_folders_and_files(self, on_path, tmp_path, monkeypatch):
        single = write(tmp_path / "single.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", os.pathsep.join([str(on_path), "", str(single)]))
        assert {"tiny", "single"} <= set(Registry().list_models())

    def test_that_does_not_exist_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(tmp_path / "nowhere"))
        with pytest.raises(
            ConfigError, match=r"^REGISTRY_CORE_CONFIG_PATH names .*nowhere, which does not exist\. Correct or remove"
        ) as caught:
            Registry().list_models()
        assert (caught.value.argument, caught.value.path) == ("REGISTRY_CORE_CONFIG_PATH", tmp_path / "nowhere")

    def test_that_is_not_a_path_is_an_error(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", "~nobody-of-this-name/x")
        with pytest.raises(OverrideError) as caught:
            Registry().list_models()
        assert caught.value.argument == "REGISTRY_CORE_CONFIG_PATH"
        assert caught.value.found == "~nobody-of-this-name/x"

    def test_with_two_configs_of_one_name_is_an_error(self, on_path, tmp_path, monkeypatch):
        other = tmp_path / "other"
        other.mkdir()
        write(other / "tiny.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", os.pathsep.join([str(on_path), str(other)]))
        with pytest.raises(
            ConfigError,
            match=r"two configs named 'tiny': .*configs/tiny\.json and .*other/tiny\.json\. None was chosen",
        ) as caught:
            Registry().list_models()
        assert (caught.value.name, caught.value.argument) == ("tiny", "REGISTRY_CORE_CONFIG_PATH")
        assert caught.value.found == (str(on_path / "tiny.json"), str(other / "tiny.json"))

    def test_without_text_cfg_is_listed_and_an_error_when_asked_for(self, on_path):
        write(on_path / "half.json", {key: value for key, value in RAW.items() if key != "text_cfg"})
        registry = Registry()
        assert "half" in registry.list_models()
        with pytest.raises(ConfigError) as caught:
            registry.config("half")
        assert caught.value.name == str(on_path / "half.json")
        assert caught.value.problems == {"text_cfg": "missing."}
        assert registry.config("tiny").embed_dim == 16

    def test_with_an_invalid_config_makes_no_plugin_fail(self, on_path):
        write(on_path / "odd.json", {"embed_dim": 3, "vision_cfg": [1, 2]})
        registry = Registry()
        assert {"odd", "daclip_tiny", "daclip_ViT-B-32"} <= set(registry.list_models())
        assert not [plugin for plugin in registry.plugins() if plugin.error]
        with pytest.raises(ConfigError) as caught:
            registry.config("odd")
        assert caught.value.name == str(on_path / "odd.json")
        assert "vision_cfg" in caught.value.problems

    def test_takes_names_too(self, on_path):
        registry = Registry()
        with pytest.raises(TakenNameError) as caught:
            registry.add_config(OTHER, "tiny")
        assert caught.value.name == "tiny"

    def test_and_add_config_with_the_same_config_are_one_config(self, on_path):
        registry = Registry()
        assert registry.add_config(RAW, "tiny") == registry.add_config(on_path / "tiny.json") == "tiny"
        assert registry.explain("tiny").origin == str(on_path / "tiny.json")

    def test_that_is_set_after_another_config_of_that_name_was_added_is_an_error(self, folder, monkeypatch):
        registry = Registry()
        registry.add_config(OTHER, "tiny")
        write(folder / "tiny.json", RAW)
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))
        with pytest.raises(
            ConfigError, match=r"two configs named 'tiny': \(mapping\), added in this process, and .*None"
        ) as caught:
            registry.config("tiny")
        assert (caught.value.name, caught.value.found) == ("tiny", ("(mapping)", str(folder / "tiny.json")))

    def test_may_reach_a_file_twice(self, on_path, monkeypatch):
        both = os.pathsep.join([str(on_path), str(on_path / "tiny.json"), str(on_path / ".." / on_path.name)])
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", both)
        assert "tiny" in Registry().list_models()

    @pytest.mark.parametrize("other", [{"name": "web", "dependencies": {}}, {"metadata": {}, "weight_map": {}}, [1, 2]])
    def test_skips_json_files_without_a_config_key(self, on_path, other):
        write(on_path / "other.json", other)
        assert {"tiny", "other"} & set(Registry().list_models()) == {"tiny"}

    def test_reads_a_listed_file_as_a_config_whatever_its_keys(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(write(tmp_path / "package.json", {"name": "web"})))
        with pytest.raises(ConfigError, match=r"No plugin claims the config|does not validate"):
            Registry().config("package")

    def test_with_a_broken_file_is_an_error_that_names_it_and_the_variable(self, on_path):
        (on_path / "bad.json").write_text("{not json")
        with pytest.raises(ConfigError, match=r"^REGISTRY_CORE_CONFIG_PATH: .*bad\.json could not be read") as caught:
            Registry().list_models()
        assert (caught.value.argument, caught.value.path) == ("REGISTRY_CORE_CONFIG_PATH", on_path / "bad.json")


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
        with pytest.raises(TakenNameError) as caught:
            registry.add_config(path)
        assert (caught.value.name, caught.value.found) == ("tiny", str(path))
        assert registry.config("tiny").embed_dim == 16

    def test_a_mapping_that_was_changed_afterwards_is_another_config(self):
        registry = Registry()
        mine = json.loads(json.dumps(RAW))
        registry.add_config(mine, "mine")
        mine["vision_cfg"]["layers"] = 4
        with pytest.raises(TakenNameError) as caught:
            registry.add_config(mine, "mine")
        assert caught.value.name == "mine"
        assert registry.config("mine").vision_cfg.layers == 2

    def test_a_config_on_the_path_is_validated(self, folder, monkeypatch):
        half = {key: value for key, value in RAW.items() if key != "text_cfg"}
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder))
        with pytest.raises(ConfigError) as caught:
            Registry().add_config(write(folder / "half.json", half))
        assert caught.value.problems == {"text_cfg": "missing."}


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

    def test_a_config_that_another_process_would_not_find_is_refused(self, folder):
        path = write(folder / "tiny.json", RAW)
        with pytest.raises(ConfigError, match=r"'mine' cannot be shared.*as a mapping\. No model.*a file mine\.json"):
            Registry().add_config(RAW, "mine", share=True)
        with pytest.raises(ConfigError) as caught:
            Registry().add_config(path, "mine", share=True)
        assert (caught.value.name, caught.value.argument) == ("mine", "share")
        assert (caught.value.expected, caught.value.found) == ("mine.json", str(path))
        assert os.environ["REGISTRY_CORE_CONFIG_PATH"] == ""

    @pytest.mark.skipif(os.pathsep != ":", reason="a file name cannot contain ':' on Windows")
    def test_a_path_that_the_variable_cannot_hold_is_refused(self, tmp_path):
        odd = tmp_path / "a:b"
        odd.mkdir()
        path = write(odd / "tiny.json", RAW)
        with pytest.raises(
            ConfigError, match=r"a:b/tiny\.json cannot be listed in REGISTRY_CORE_CONFIG_PATH: ':' sep.*Move or rename"
        ) as caught:
            Registry().add_config(path, share=True)
        assert (caught.value.argument, caught.value.path) == ("REGISTRY_CORE_CONFIG_PATH", path)
