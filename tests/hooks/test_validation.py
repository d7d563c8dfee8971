# ruff: noqa: ARG005 - hooks take arguments by name
"""Validation: a plugin whose hooks do not fit the contract is refused, with the rule that it breaks."""

from __future__ import annotations

import pluggy
import pytest

from registry_core import PluginError, Registry
from registry_core.hooks.validation import HOOKS


def test_an_unknown_hook_is_refused(registry, plugin):
    with pytest.raises(PluginError) as caught:
        registry.register(plugin(build_modle=lambda config: None))
    assert (caught.value.plugin, caught.value.hook) == ("extra", "build_modle")
    assert caught.value.found == ["build_modle"]
    assert caught.value.expected == sorted(HOOKS)
    assert "Did you mean build_model" in str(caught.value)
    assert "extra" not in [p.name for p in registry.plugins()]


def test_an_unknown_argument_is_refused_and_the_corrected_plugin_is_accepted(registry, plugin):
    with pytest.raises(PluginError, match="colour") as caught:
        registry.register(plugin(resolve_config=lambda colour: None))
    assert isinstance(caught.value.__cause__, pluggy.PluginValidationError)
    assert registry.register(plugin(resolve_config=lambda name: None)).active


def test_a_hook_wrapper_is_refused_with_the_reason(install, record):
    install("brittle", {"wraps": "@hookimpl(wrapper=True)\ndef list_models():\n    return (yield)"})
    with pytest.raises(
        PluginError,
        match=r"list_models is a hook wrapper\. Plugins are called one at a time.*\. The fault is in brittle_wraps\.$",
    ):
        raise record(Registry(), "wraps").error


def test_a_plugin_is_validated_when_an_isolated_registry_is_made(plugin):
    with pytest.raises(PluginError) as caught:
        Registry(plugins=[plugin(list_model=lambda: None)])
    assert (caught.value.plugin, caught.value.hook) == ("extra", "list_model")
