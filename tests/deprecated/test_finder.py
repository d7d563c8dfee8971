"""Old module paths and names lead to the new ones, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest

import registry_core
from registry_core.deprecated.table import MODULES, RENAMED


@pytest.fixture(autouse=True)
def _imported_anew():
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("old", sorted(MODULES))
def test_an_old_module_warns_and_has_the_new_names(old):
    with pytest.warns(DeprecationWarning, match=f"The module {old} moved to {MODULES[old][0]}"):
        module = importlib.import_module(old)
    new = importlib.import_module(MODULES[old][0])
    for name in (name for name in vars(new) if not name.startswith("_")):
        if vars(new)[name] is not None:
            assert getattr(module, name) is getattr(new, name)


def test_the_names_of_a_module_that_was_split_are_all_there():
    with pytest.warns(DeprecationWarning, match="moved"):
        from registry_core.plugins import Plugin, PluginHost
    assert (Plugin.__module__, PluginHost.__module__) == ("registry_core.hooks.plugin", "registry_core.hooks.host")


def test_a_renamed_class_is_found_in_its_old_module():
    with pytest.warns(DeprecationWarning, match="moved"):
        from registry_core.home import Home
    assert Home is registry_core.ModelRepository


def test_a_star_import_of_an_old_module_has_its_public_names():
    names = {}
    with pytest.warns(DeprecationWarning, match="moved"):
        exec("from registry_core.home import *", names)  # noqa: S102 - allowed in a module only
    assert names["Home"] is names["ModelRepository"] is registry_core.ModelRepository


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_an_old_public_name_warns_and_is_the_new_one(old):
    with pytest.warns(DeprecationWarning, match=rf"registry_core\.{old} is now registry_core\.{RENAMED[old]}"):
        found = getattr(registry_core, old)
    assert found is getattr(registry_core, RENAMED[old])


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'registry_core' has no attribute 'Nothing'"):
        _ = registry_core.Nothing
    with pytest.warns(DeprecationWarning, match="moved"):
        module = importlib.import_module("registry_core.tables")
    with pytest.raises(AttributeError, match=r"'registry_core\.tables' has no attribute 'Nothing'"):
        _ = module.Nothing


def test_nothing_else_is_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("registry_core.no_such_module")
