"""Classes that plugins offer by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from registry_core import ConflictError, PluginError, Registry, hookimpl


def plugin(name, place):
    @hookimpl
    def public_classes():
        return {name: place}

    return SimpleNamespace(public_classes=public_classes)


def test_places_are_listed_and_a_class_is_found(registry):
    offered = registry.services.lookup.public_classes()
    assert offered["CoCaLoss"] == "registry_plugins.coca.loss:CoCaLoss"
    assert registry.services.public_class("DaCLIP").__module__ == "registry_plugins.daclip.model"
    assert registry.services.public_class("Nobody") is None


@pytest.mark.parametrize("name", ["CLIP", "CustomTextCLIP", "CoCa", "CoCaLoss", "DaCLIP", "DaClipLoss"])
def test_the_shipped_ones_are_there(registry, name):
    assert registry.services.public_class(name).__name__ == name


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("no_such_module:Thing", "is not there: ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:NoSuchClass", "is not there: AttributeError: module 'json' has no attribute 'NoSuchClass'"),
        ("json:dumps", r"'json:dumps', is a function, expected a class"),
    ],
)
def test_one_that_is_not_there(place, words):
    registry = Registry(plugins=[plugin("Thing", place)])
    with pytest.raises(PluginError, match=rf"The public class 'Thing'.*{words}"):
        registry.services.public_class("Thing")


def test_two_of_one_name():
    registry = Registry(plugins=[plugin("Thing", "json:JSONEncoder")])
    registry.register(plugin("Thing", "json:JSONDecoder"), "another")
    with pytest.raises(ConflictError, match="The public class 'Thing' is answered more than once"):
        registry.services.public_class("Thing")
