"""The selection of installed plugins, by REGISTRY_CORE_PLUGINS and by Registry(plugins=[...])."""

from __future__ import annotations

import types

import pytest

from registry_core import PluginError, Registry, hookimpl
from registry_core.cli import main
from registry_core.hooks.selection import Candidate, Selection

SOURCE = "@hookimpl\ndef list_models(): return {'from-acme': {}}"


def active(registry):
    return {plugin.name for plugin in registry.plugins() if plugin.active}


@pytest.fixture
def everything():
    return active(Registry())


class TestTheEnvironment:
    def test_only_the_listed_plugins_are_used(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "openai_clip, daclip")
        assert active(Registry()) == {"openai_clip", "daclip"}

    def test_a_minus_excludes_a_plugin(self, monkeypatch, everything):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-daclip")
        registry = Registry()
        assert active(registry) == everything - {"daclip"}
        assert registry.list_models("daclip_*") == []

    def test_a_pattern_may_exclude_all_plugins(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-*")
        assert Registry().list_models() == []

    @pytest.mark.parametrize("value", ["", " ", ","])
    def test_an_empty_value_selects_everything(self, monkeypatch, everything, value):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", value)
        assert active(Registry()) == everything

    def test_an_excluded_plugin_is_not_imported(self, monkeypatch, install):
        install("acme", {"explosive": "raise SystemExit('imported')"})
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-explosive")
        (found,) = [plugin for plugin in Registry().plugins() if plugin.name == "explosive"]
        assert (found.state, found.error) == ("switched off by REGISTRY_CORE_PLUGINS", None)

    def test_a_plugin_that_is_not_installed_is_reported_and_the_others_work(self, monkeypatch, capsys):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "openai_clip,dacilp")
        assert main(["plugins"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "REGISTRY_CORE_PLUGINS names the plugin 'dacilp', but no installed distribution provides it." in shown
        assert "Did you mean daclip?" in shown
        assert main(["doctor"]) == 1
        assert "plugin dacilp (not installed)" in capsys.readouterr().out

    def test_an_excluded_plugin_that_is_not_installed_is_reported_too(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-dacilp")
        (found,) = [plugin for plugin in Registry().plugins() if plugin.error]
        assert (found.error.plugin, found.error.suggestions) == ("dacilp", ["daclip"])
        assert "`registry-core plugins`" in found.error.advice
        assert "daclip" in active(Registry())

    def test_the_name_of_a_plugin_that_is_not_installed_can_be_registered(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "mine")
        registry = Registry()
        module = types.ModuleType("mine")
        module.list_models = hookimpl(specname="list_models")(lambda: {"my-model": {}})
        registry.register(module)
        assert registry.list_models() == ["my-model"]


class TestTheArgument:
    def test_accepts_entry_point_names(self):
        registry = Registry(plugins=["openai_clip"])
        assert active(registry) == {"openai_clip"}
        assert "ViT-B-32" in registry.list_models()

    def test_wins_over_the_environment(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-openai_clip")
        assert active(Registry(plugins=["openai_clip"])) == {"openai_clip"}

    def test_accepts_names_and_modules_together(self):
        module = types.ModuleType("mine")
        module.list_models = hookimpl(specname="list_models")(lambda: {"my-model": {}})
        assert active(Registry(plugins=["openai_clip", module])) == {"openai_clip", "mine"}

    def test_a_minus_excludes_a_plugin(self, everything):
        assert active(Registry(plugins=["-daclip"])) == everything - {"daclip"}

    def test_a_plugin_that_is_not_installed_is_refused(self):
        with pytest.raises(PluginError, match=r"^Registry\(plugins=\.\.\.\) names the plugin 'dacilp'") as caught:
            Registry(plugins=["dacilp"])
        assert (caught.value.plugin, caught.value.suggestions) == ("dacilp", ["daclip"])

    def test_a_broken_plugin_is_kept_with_its_error(self, install):
        install("brittle", {"broken": "raise RuntimeError('no licence')"})
        (found,) = [plugin for plugin in Registry(plugins=["broken"]).plugins() if plugin.name == "broken"]
        assert found.error.plugin == "broken"
        assert repr(found.error.__cause__) == "RuntimeError('no licence')"


class TestPatterns:
    @pytest.mark.parametrize(
        ("patterns", "name", "distribution", "refused"),
        [
            (["a"], "a", "x", False),
            (["a"], "b", "x", True),
            (["-a"], "a", "x", True),
            (["-a"], "b", "x", False),
            (["a", "-a"], "a", "x", True),
            (["hub*", "-hub_beta"], "hub_alpha", "x", False),
            (["hub*", "-hub_beta"], "hub_beta", "x", True),
            (["my-dist:a"], "a", "My_Dist", False),
            (["my-dist:a"], "a", "other", True),
            (["-my.dist:*"], "anything", "my-dist", True),
        ],
    )
    def test_select(self, patterns, name, distribution, refused):
        assert Selection.parse(patterns, "a test").refuses(Candidate(name, distribution)) is refused

    def test_a_pattern_without_a_match_is_no_error(self):
        assert Selection.parse(["no*", "-such*"], "a test").absent([]) == {}
