"""Discovery, registration and isolation: a plugin that fails is recorded with its error, and the others work."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import pluggy
import pytest

from registry_core import ConfigError, PluginError, Registry, UnknownModelError, hookimpl


def causes(error):
    """Every exception that an error was raised from, with the members of groups."""
    found, queue = [], [error.__cause__]
    while queue:
        cause = queue.pop()
        if cause is not None:
            found.append(cause)
            queue += [cause.__cause__, *(cause.exceptions if isinstance(cause, BaseExceptionGroup) else ())]
    return found


class TestDiscovery:
    def test_shipped_plugins_have_distribution_and_version(self):
        found = {p.name: p for p in Registry().plugins()}
        for name in ("openai_clip", "daclip"):
            assert found[name].distribution == "registry_core"
            assert found[name].version == version("registry_core")
            assert found[name].location == f"registry_plugins.{name}.plugin"
            assert found[name].error is None
            assert found[name].active

    def test_plugins_are_ordered_by_distribution_and_name(self, install):
        install("zeta", {"aardvark": ""})
        install("alpha", {"zebra": "", "ant": ""})
        found = [(p.distribution, p.name) for p in Registry().plugins()]
        assert found == sorted(found)
        assert {("alpha", "ant"), ("alpha", "zebra"), ("zeta", "aardvark"), ("registry_core", "daclip")} <= set(found)

    def test_a_third_party_is_found_with_its_version(self, install, acme_models, record):
        install("acme", {"models": acme_models}, number="4.5")
        found = record(Registry(), "models")
        assert (found.distribution, found.version, found.error) == ("acme", "4.5", None)
        assert str(found) == "models (acme 4.5)"

    def test_happens_once_and_at_first_use(self, install, acme_models):
        registry = Registry()
        install("late", {"models": acme_models})
        assert "acme-vit" in registry.list_models(), "discovered at first use, not when the registry was made"
        install("later", {"other": ""})
        assert "other" not in [p.name for p in registry.plugins()]


LIST_MODELS = {"hook": "list_models"}

# name -> source, the question that shows the fault (None: known at discovery), facts of the error, type of its cause
BROKEN = {
    "raises_at_import": ("raise RuntimeError('no licence')", None, {}, RuntimeError),
    "absent_package": ("import surely_not_installed", None, {}, ModuleNotFoundError),
    "syntax_error": ("def broken(:", None, {}, SyntaxError),
    "misspelt_hook": (
        "@hookimpl\ndef resolve_confg(name): return None",
        None,
        {"hook": "resolve_confg", "found": ["resolve_confg"]},
        None,
    ),
    "extra_argument": (
        "@hookimpl\ndef resolve_config(name, colour): return None",
        None,
        {},
        pluggy.PluginValidationError,
    ),
    "hook_wrapper": (
        "@hookimpl(wrapper=True)\ndef list_models():\n    return (yield)",
        None,
        {"hook": "list_models", "found": ["list_models"]},
        None,
    ),
    "raises_in_list_models": (
        "@hookimpl\ndef list_models(): raise ZeroDivisionError('oops')",
        "list_models",
        LIST_MODELS,
        ZeroDivisionError,
    ),
    "raises_our_error_in_list_models": (
        "from registry_core import ConfigError\n@hookimpl\ndef list_models(): raise ConfigError('oops')",
        "list_models",
        LIST_MODELS,
        ConfigError,
    ),
    "raises_in_list_pretrained": (
        "@hookimpl\ndef list_pretrained(): return 1 / 0",
        "list_pretrained",
        {"hook": "list_pretrained"},
        ZeroDivisionError,
    ),
    "raises_in_derive_models": (
        "@hookimpl\ndef derive_models(base): return base['?']",
        "list_models",
        {"hook": "derive_models"},
        KeyError,
    ),
    "raises_in_resolve_config": (
        "@hookimpl\ndef resolve_config(name): return name.nope",
        "config",
        {"hook": "resolve_config"},
        AttributeError,
    ),
    "raises_in_resolve_pretrained": (
        "@hookimpl\ndef resolve_pretrained(name): raise OSError('disk')",
        "explain",
        {"hook": "resolve_pretrained"},
        OSError,
    ),
    "type_of_a_listed_model": ("@hookimpl\ndef list_models(): return {'a': 3}", "list_models", LIST_MODELS, None),
    "type_of_a_listed_tag": (
        "@hookimpl\ndef list_pretrained(): return ['openai']",
        "list_pretrained",
        {"hook": "list_pretrained"},
        None,
    ),
    **{
        f"type_of_{hook}": (
            f"@hookimpl\ndef {hook}({argument}): return {answer!r}",
            question,
            {"hook": hook, "expected": expected, "found": type(answer).__name__},
            None,
        )
        for hook, argument, answer, question, expected in (
            ("list_models", "", ["a"], "list_models", "Mapping"),
            ("list_pretrained", "", {"a": "b"}, "list_pretrained", "list or tuple"),
            ("derive_models", "base", [1], "list_models", "Mapping"),
            ("resolve_config", "name", {"embed_dim": 3}, "config", "ModelConfig"),
            ("resolve_pretrained", "name", "/a/path", "explain", "Weights"),
        )
    },
}

ASK = {
    None: lambda registry: registry.plugins(),
    "list_models": lambda registry: registry.list_models(),
    "list_pretrained": lambda registry: registry.list_pretrained(),
    "config": lambda registry: registry.config("ViT-B-32"),
    "explain": lambda registry: registry.explain("ViT-B-32", "openai"),
}


class TestABrokenPlugin:
    @pytest.fixture(params=BROKEN)
    def broken(self, request, install, record):
        source, question, _, _ = BROKEN[request.param]
        install("brittle", {request.param: source})
        registry = Registry()
        ASK[question](registry)
        return registry, record(registry, request.param)

    def test_is_listed_with_an_error_that_names_it(self, broken):
        _, found = broken
        _, _, facts, cause = BROKEN[found.name]
        assert found.distribution == "brittle"
        assert isinstance(found.error, PluginError)
        assert found.error.plugin == found.name
        assert {"hook": None, **facts}.items() <= {key: getattr(found.error, key) for key in ("hook", *facts)}.items()
        assert str(found.error).startswith(f"Plugin {found.name} (brittle 1.2.3) ")
        assert isinstance(found.error.__cause__, cause or type(None))

    def test_leaves_the_others_working(self, broken, record):
        registry, _ = broken
        healthy = Registry(plugins=[])
        for shipped in [p for p in registry.plugins() if p.distribution == "registry_core"]:
            healthy.register(importlib.import_module(shipped.location), shipped.name)
        assert registry.list_models() == healthy.list_models()
        assert registry.list_pretrained() == healthy.list_pretrained()
        assert registry.config("daclip_ViT-B-32").architecture == "daclip"
        assert registry.explain("daclip_ViT-B-32", "openai").places
        assert all(record(registry, name).error is None for name in ("openai_clip", "daclip"))

    def test_is_the_cause_when_a_model_is_not_found(self, broken):
        registry, found = broken
        with pytest.raises(UnknownModelError, match=rf"Not asked or failing: {found.name} \(brittle") as caught:
            registry.config("brittle-model")
        assert found.error in causes(caught.value)

    def test_is_shown_by_explain(self, broken):
        registry, found = broken
        explanation = registry.explain("ViT-B-32", "openai")
        assert f"{found}: {found.error}" in explanation.broken
        assert " ".join(str(found.error).split()) in " ".join(str(explanation).split())


def test_the_errors_of_several_broken_plugins_are_the_causes_together(install):
    install("brittle", {"one": "raise RuntimeError('first')", "two": "raise RuntimeError('second')"})
    registry = Registry()
    with pytest.raises(UnknownModelError) as caught:
        registry.config("no-such-model")
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert {str(cause) for cause in causes(caught.value)} >= {"first", "second"}


def test_a_plugin_that_fails_at_the_first_listing_is_the_cause_of_an_unknown_name(install):
    install("brittle", {"late": "@hookimpl\ndef list_models(): raise ZeroDivisionError('oops')"})
    with pytest.raises(UnknownModelError) as caught:
        Registry().config("no-such-model")
    assert isinstance(caught.value.__cause__, PluginError)
    assert caught.value.__cause__.plugin == "late"


def test_a_broken_plugin_is_the_cause_of_an_unclaimed_config(install, record):
    install("brittle", {"arch": "import surely_not_installed"})
    registry = Registry()
    with pytest.raises(ConfigError) as caught:
        registry.add_config({"architecture": "arch", "embed_dim": 3}, "mine")
    assert caught.value.found == "arch"
    assert caught.value.__cause__ is record(registry, "arch").error


class TestFailuresOfHooks:
    """A plugin is marked as failing as long as the last call to one of its hooks failed."""

    @pytest.fixture
    def moody(self, registry, plugin):
        """A plugin whose hooks fail while they are in `failing`: its record, and that set."""
        failing = set()

        def answer(hook, value):
            if hook in failing:
                raise ConnectionError(f"{hook} is out of order")
            return value

        record = registry.register(
            plugin(
                "moody",
                list_models=lambda: answer("list_models", {"moody-model": {}}),
                list_pretrained=lambda: answer("list_pretrained", [("moody-model", "v1")]),
            )
        )
        return registry, record, failing

    def test_a_hook_that_fails_once_and_works_later_is_no_longer_marked(self, moody):
        registry, record, failing = moody
        failing.add("list_models")
        assert "moody-model" not in registry.list_models()
        assert (record.state, record.error.hook) == ("failing", "list_models")
        failing.clear()
        assert "moody-model" in registry.list_models()
        assert (record.state, record.error, record.failures) == ("works", None, {})

    def test_the_success_of_one_hook_leaves_the_failure_of_another(self, moody):
        registry, record, failing = moody
        failing.update(("list_models", "list_pretrained"))
        calls = registry.services.calls
        list(calls.list_models())
        list(calls.list_pretrained())
        assert set(record.failures) == {"list_models", "list_pretrained"}
        assert record.error.hook == "list_pretrained", "the latest"
        failing.discard("list_pretrained")
        assert (record, [("moody-model", "v1")]) in list(calls.list_pretrained())
        assert set(record.failures) == {"list_models"}
        assert (record.state, record.error.hook) == ("failing", "list_models")

    def test_a_wrong_answer_is_forgotten_after_a_right_one(self, registry, plugin):
        answers = [3, {"late-model": {}}]
        record = registry.register(plugin(list_models=lambda: answers[0]))
        registry.list_models()
        assert (record.error.hook, record.error.found) == ("list_models", "int")
        registry.services.calls.host.ask("list_models")
        assert record.error.found == "int", "an unchecked call does not clear it"
        answers.pop(0)
        assert "late-model" in registry.list_models()
        assert record.error is None


class TestRegister:
    def test_adds_to_the_installed_ones(self, registry, plugin):
        added = registry.register(plugin(list_models=lambda: {"extra": {}}))
        assert (added.name, added.distribution, added.active) == ("extra", "(registered)", True)
        assert {"extra", "ViT-B-32"} <= set(registry.list_models())

    def test_accepts_another_name(self, registry, plugin):
        assert registry.register(plugin(), "other").name == "other"

    @pytest.mark.parametrize("asked_before", [True, False])
    def test_refuses_a_taken_name(self, plugin, record, asked_before):
        registry = Registry()
        if asked_before:
            registry.plugins()
        with pytest.raises(PluginError) as caught:
            registry.register(plugin("openai_clip"))
        assert (caught.value.name, caught.value.plugin) == ("openai_clip", "openai_clip")
        assert caught.value.found == f"openai_clip (registry_core {version('registry_core')})"
        assert record(registry, "openai_clip").distribution == "registry_core"
        assert registry.config("ViT-B-32").embed_dim == 512

    def test_accepts_an_object_with_methods(self, registry):
        class Plugin:
            @hookimpl
            def list_models(self):
                return {"from-object": {}}

        registry.register(Plugin())
        assert "from-object" in registry.list_models()
