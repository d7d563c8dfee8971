"""The contract of every plugin and of every listed model."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

from registry_core import ConfigError, Registry, hookspecs

REGISTRY = Registry()
MODELS = REGISTRY.list_models()
PLUGINS = REGISTRY.plugins()


def arguments(hook, **given):
    """All arguments of a hook. Those that are not given are None."""
    names = inspect.signature(getattr(hookspecs, hook)).parameters
    return {**dict.fromkeys(names), "registry": REGISTRY, **given}


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
class TestPlugin:
    def test_works_and_names_its_distribution(self, plugin):
        assert plugin.error is None
        assert plugin.active
        assert plugin.distribution
        assert plugin.version

    def test_does_not_answer_for_unknown_names_and_architectures(self, plugin):
        host = REGISTRY.services.calls.host
        asked = arguments("resolve_config", name="no-such-model")
        assert host.ask_one(plugin, "resolve_config", **asked) is None
        asked["raw"] = {"architecture": "no-such-architecture"}
        assert host.ask_one(plugin, "resolve_config", **asked) is None

    def test_does_not_answer_for_an_unknown_tag(self, plugin):
        config = REGISTRY.config("ViT-B-32")
        asked = arguments("resolve_pretrained", name="ViT-B-32", config=config, tag="no-such-tag")
        assert REGISTRY.services.calls.host.ask_one(plugin, "resolve_pretrained", **asked) is None


def test_listing_needs_no_torch():
    code = """
import json, sys
sys.modules["torch"] = None
from registry_core import registry
print(json.dumps(registry.list_models()))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == MODELS


def test_there_are_models_to_check():
    assert len(MODELS) >= 100


@pytest.mark.parametrize("name", MODELS)
class TestModel:
    def test_its_raw_config_has_the_same_owner(self, name):
        config = REGISTRY.config(name)
        raw = json.loads(json.dumps(config.raw()))
        claimed = REGISTRY.services.claim(raw, name)
        assert claimed.config == config
        assert type(claimed.config) is type(config)
        assert claimed.owner is REGISTRY.services.resolve(name).owner

    def test_an_unknown_key_is_refused_with_its_path(self, name):
        raw = REGISTRY.config(name).raw()
        for changed, path in (
            ({**raw, "no_such_key": 1}, "no_such_key"),
            ({**raw, "vision_cfg": {**raw["vision_cfg"], "no_such_key": 1}}, "vision_cfg.no_such_key"),
            ({**raw, "text_cfg": {**raw["text_cfg"], "no_such_key": 1}}, "text_cfg.no_such_key"),
        ):
            with pytest.raises(ConfigError) as caught:
                REGISTRY.services.claim(changed, name)
            assert caught.value.problems[path].startswith("unknown key")

    def test_its_shell_is_complete_and_consists_of_its_towers(self, name):
        shells = {tower: REGISTRY.create(name, device="meta", tower=tower) for tower in (None, "image", "text")}
        whole, image, text = (set(shell.state_dict()) for shell in shells.values())
        assert image < whole
        assert text < whole
        assert image | text <= whole
        # A part that needs both towers, such as a decoder, is in neither of the two models.
        parts = [{name.partition(".")[0] for name in names} for names in (whole - image - text, image | text)]
        assert not parts[0] & parts[1]
        for shell in shells.values():
            assert type(shell) is type(shells[None])
            assert shell.config == REGISTRY.config(name)
            assert not shell.training
            assert all(parameter.is_meta for parameter in shell.parameters())
            shapes = {key: value.shape for key, value in shells[None].state_dict().items()}
            assert all(value.shape == shapes[key] for key, value in shell.state_dict().items())
