"""Plugins with a fault: the others keep working, and `plugins` and `doctor` name the plugin and its module."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import pytest

from registry_core import PluginError, Registry, UnknownModelError, hookspecs
from registry_core.cli import main
from registry_core.diagnose.doctor import examine

CONFIG = """
class Config(ModelConfig):
    architecture = "{name}"
RAW = {{"embed_dim": 8, "vision_cfg": {{}}, "text_cfg": {{}}}}
"""

# name -> source, pattern of the message: what is wrong, where the fault is, and what to do
FAULTS = {
    "raises_at_import": (
        "raise RuntimeError('no licence')",
        r"could not be loaded from brittle_raises_at_import: RuntimeError: no licence\. Its models are not available; "
        r"other plugins are not affected\. The fault is in brittle_raises_at_import: upgrade, repair or uninstall",
    ),
    "absent_package": (
        "import surely_not_installed.part",
        r"It needs the package 'surely_not_installed', which is not installed here: install brittle with its "
        r"dependencies, or uninstall it",
    ),
    "misspelt_hook": (
        "@hookimpl\ndef resolve_confg(name): return None",
        r"was not loaded: 'resolve_confg' is not a hook\. Did you mean resolve_config.*The hooks are: build_aspects, "
        r"build_loss, build_model, .*The fault is in brittle_misspelt_hook",
    ),
    "extra_argument": (
        "@hookimpl\ndef list_models(colour): return {}",
        r"\{'colour'\} are declared in the hookimpl but can not be found in the hookspec.*The fault is in "
        r"brittle_extra_argument: upgrade, repair or uninstall brittle",
    ),
    "new_api": (
        f"REGISTRY_CORE_API = {hookspecs.API + 1}\n@hookimpl\ndef list_models(of_the_future): return {{}}",
        rf"was written for version {hookspecs.API + 1} of the hook contract, and this registry_core knows "
        rf"1 to {hookspecs.API}\. The fault is in brittle_new_api\. Upgrade registry_core \(pip install -U "
        r"registry_core\), or install an older release",
    ),
    "ancient_api": (
        "REGISTRY_CORE_API = 0\n@hookimpl\ndef list_models(): return {}",
        r"was written for version 0 of the hook contract, .*Install a newer release of the plugin",
    ),
    "odd_api": (
        "REGISTRY_CORE_API = '1.0'\n@hookimpl\ndef list_models(): return {}",
        r"REGISTRY_CORE_API is '1\.0', expected the number of the hook contract .*Correct it in the plugin",
    ),
    "raises_in_a_hook": (
        "@hookimpl\ndef list_models(): return 1 / 0",
        r"failed in its hook list_models: ZeroDivisionError: .*The fault is in brittle_raises_in_a_hook; other plugins",
    ),
    **{
        f"type_of_{hook}": (
            f"@hookimpl\ndef {hook}(): return 3",
            rf"answered its hook {hook} with a int, expected {kind}\. .*fault is in brittle_type_of_{hook}",
        )
        for hook, kind in (
            ("list_models", "Mapping"),
            ("list_pretrained", "list or tuple"),
            ("derive_models", "Mapping"),
            ("describe_models", "Mapping"),
            ("fetchers", "Mapping"),
        )
    },
}


@pytest.fixture(params=FAULTS)
def fault(request, install):
    """An installed distribution `brittle` whose plugin has a fault. Returns the name of the plugin."""
    install("brittle", {request.param: FAULTS[request.param][0]})
    return request.param


def data_of(capsys, *arguments):
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


class TestEachFault:
    def test_is_named_by_plugins_with_advice_and_the_others_work(self, fault, capsys):
        status, rows = data_of(capsys, "plugins")
        found = {row["plugin"]: row for row in rows}
        assert status == 0
        assert found[fault]["state"] in {"broken", "failing"}
        assert re.search(rf"(?s)^Plugin {fault} \(brittle 1\.2\.3\) .*{FAULTS[fault][1]}", found[fault]["error"])
        assert {row["state"] for plugin, row in found.items() if plugin != fault} == {"works"}

    def test_is_named_by_doctor_with_its_traceback(self, fault, capsys):
        _, rows = data_of(capsys, "plugins")
        status, findings = data_of(capsys, "doctor")
        problems = [finding for finding in findings if finding["state"] == "problem"]
        assert status == 1
        assert [problem["subject"] for problem in problems] == [f"plugin {fault} (brittle 1.2.3)"]
        assert [problem["text"] for problem in problems] == [row["error"] for row in rows if row["plugin"] == fault]
        assert "PluginError: Plugin" in problems[0]["details"]

    @pytest.mark.usefixtures("fault")
    def test_does_not_affect_create(self, registry):
        model = registry.create("daclip_tiny", pretrained=False)
        assert registry.report(model).plugin.startswith("daclip (registry_core")


def test_an_import_error_is_shown_with_the_traceback_of_the_plugin(install):
    install("brittle", {"deep": "def dig():\n    raise RuntimeError('bedrock')\ndig()"})
    (finding,) = [finding for finding in examine(Registry().services) if finding.state == "problem"]
    assert "brittle_deep.py" in finding.details
    assert "RuntimeError: bedrock" in finding.details


def test_the_command_line_shows_the_cause_when_a_model_is_not_found(install, capsys):
    install("brittle", {"lost": "raise RuntimeError('no licence')"})
    assert main(["explain", "lost-model"]) == 1
    shown = capsys.readouterr().err
    assert "There is no model 'lost-model'" in shown
    assert "caused by: Plugin lost (brittle 1.2.3) could not be loaded" in shown
    assert "RuntimeError: no licence" in shown


class TestApiVersions:
    SOURCE = "{api}\n@hookimpl\ndef list_models(): return {{'from-the-plugin': {{}}}}"

    def test_a_plugin_that_states_none_has_the_first(self, install):
        install("acme", {"quiet": self.SOURCE.format(api="")})
        registry = Registry()
        assert next(plugin.api for plugin in registry.plugins() if plugin.name == "quiet") == 1

    def test_an_older_plugin_works_under_a_newer_contract(self, install, monkeypatch):
        monkeypatch.setattr(hookspecs, "API", 3)
        install("acme", {"old": self.SOURCE.format(api="REGISTRY_CORE_API = 2")})
        registry = Registry()
        found = next(plugin for plugin in registry.plugins() if plugin.name == "old")
        assert (found.api, found.error) == (2, None)
        assert "from-the-plugin" in registry.list_models()

    def test_a_version_outside_the_known_range_is_refused(self, install, monkeypatch):
        monkeypatch.setattr(hookspecs, "API", 4)
        monkeypatch.setattr(hookspecs, "OLDEST_API", 2)
        install("acme", {"first": self.SOURCE.format(api=""), "fifth": self.SOURCE.format(api="REGISTRY_CORE_API = 5")})
        errors = {plugin.name: plugin.error for plugin in Registry().plugins() if plugin.distribution == "acme"}
        facts = {name: (error.plugin, error.expected, error.found) for name, error in errors.items()}
        assert facts == {"first": ("first", "2 to 4", 1), "fifth": ("fifth", "2 to 4", 5)}
        assert errors["first"].advice.startswith("Install a newer release")
        assert errors["fifth"].advice.startswith("Upgrade registry_core")


class TestMissingHookimpl:
    def test_is_noted_on_a_plugin_that_works(self, install):
        install("acme", {"half": "@hookimpl\ndef list_models(): return {}\ndef list_pretrained(): return []"})
        found = next(plugin for plugin in Registry().plugins() if plugin.name == "half")
        assert (found.error, found.state) == (None, "works")
        (note,) = found.notes
        assert note.startswith("list_pretrained has the name of a hook but is not marked with @hookimpl")
        assert note.endswith("so it is never called; the fault is in acme_half")

    def test_is_noted_on_a_plugin_without_any_hook(self, install, capsys):
        install("acme", {"none": "def list_models(): return {}"})
        _, rows = data_of(capsys, "plugins")
        (row,) = [row for row in rows if row["plugin"] == "none"]
        assert row["state"] == "has no hook"
        assert row["notes"][0].startswith("list_models has the name of a hook")

    def test_is_not_noted_for_an_imported_function(self, install):
        install(
            "acme", {"borrows": "from registry_core.hookspecs import list_models\n@hookimpl\ndef fetchers(): return {}"}
        )
        assert next(plugin.notes for plugin in Registry().plugins() if plugin.name == "borrows") == []


class TestTwoOfOneName:
    RIVAL = (
        CONFIG.format(name="rival") + "@hookimpl\ndef list_models(): return {'ViT-B-32': RAW}\n"
        "@hookimpl\ndef list_pretrained(): return [('ViT-B-16', 'openai')]\n"
    )

    def test_a_model_and_a_tag_are_noted_with_both(self, install, capsys):
        install("rival", {"rival": self.RIVAL})
        _, rows = data_of(capsys, "plugins")
        notes = {row["plugin"]: row["notes"] for row in rows}
        providers = f"openai_clip (registry_core {version('registry_core')}) and by rival (rival 1.2.3); use "
        model = f"model 'ViT-B-32' is provided by {providers}"
        tag = f"tag 'openai' of 'ViT-B-16' is provided by {providers}"
        for plugin in ("rival", "openai_clip"):
            assert any(note.startswith(model) and "'rival::ViT-B-32'" in note for note in notes[plugin])
            assert any(note.startswith(tag) and "'rival::ViT-B-16'" in note for note in notes[plugin])
        status, findings = data_of(capsys, "doctor")
        conflicts = [finding for finding in findings if finding["subject"] == "conflict"]
        assert status == 0
        assert {finding["state"] for finding in conflicts} == {"warning"}
        assert [finding["text"] for finding in conflicts if finding["text"].startswith(model)]

    def test_an_entry_point_is_refused_with_advice(self, install, capsys):
        install("zzz", {"daclip": "@hookimpl\ndef list_models(): return {'mine': {}}"})
        _, rows = data_of(capsys, "plugins")
        first, second = [row for row in rows if row["plugin"] == "daclip"]
        assert (first["state"], second["state"]) == ("works", "broken")
        assert "already used by daclip (registry_core " in second["error"]
        assert "REGISTRY_CORE_PLUGINS='-registry_core:daclip'" in second["error"]

    def test_a_distribution_that_sorts_first_does_not_take_a_shipped_name(self, install):
        install("aaa", {"daclip": "@hookimpl\ndef list_models(): return {'mine': {}}"})
        places = {(p.distribution, p.active) for p in Registry().plugins() if p.name == "daclip"}
        assert places == {("registry_core", True), ("aaa", False)}

    def test_the_advice_works(self, install, monkeypatch):
        install("zzz", {"daclip": "@hookimpl\ndef list_models(): return {'mine': {}}"})
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-registry_core:daclip")
        assert "mine" in Registry().list_models()

    def test_a_distribution_that_is_installed_twice_is_reported(self, install, tmp_path, monkeypatch):
        source = "@hookimpl\ndef list_models(): return {}"
        install("acme", {"one": source}, number="2.0")
        hidden = install("acme", {"one": source}, number="1.0", at=tmp_path / "second")
        monkeypatch.syspath_prepend(str(hidden))
        findings = [finding for finding in examine(Registry().services) if finding.subject == "distribution acme"]
        assert [finding.state for finding in findings] == ["warning"]
        assert "installed twice: 1.0 in" in findings[0].text
        assert "is used and hides 2.0 in" in findings[0].text
        assert "Uninstall one of the two" in findings[0].text


def test_wrong_types_from_the_hooks_of_a_model_name_the_plugin(install, registry):
    install(
        "brittle",
        {
            "arch": CONFIG.format(name="arch")
            + """
from registry_core import TextConfig, VisionConfig
class Own(Config):
    vision_cfg: VisionConfig
    text_cfg: TextConfig
@hookimpl
def resolve_config(name, raw):
    return Own.parse(RAW, name) if name == "mine" or (raw or {}).get("architecture") == "arch" else None
@hookimpl
def build_tokenizer(config): return "no tokenizer"
@hookimpl
def build_preprocess(config): return 3
@hookimpl
def build_model(config): return "no module"
"""
        },
    )
    fresh = Registry()
    for hook, found, ask in (
        ("build_preprocess", "int", lambda: fresh.preprocess("mine")),
        ("build_tokenizer", "str", lambda: fresh.services.own_tokenizer(fresh.config("mine"))),
    ):
        with pytest.raises(PluginError) as caught:
            ask()
        assert (caught.value.plugin, caught.value.hook, caught.value.found) == ("arch", hook, found)


class TestSwitchedOff:
    def test_an_unknown_model_names_the_switched_off_plugin_and_the_variable(self, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_PLUGINS", "-daclip")
        with pytest.raises(
            UnknownModelError, match=r"Switched off: daclip \(registry_core [^)]*\) \(by REGISTRY_CORE_PLUG"
        ):
            Registry().config("daclip_ViT-B-32")
