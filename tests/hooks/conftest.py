"""Plugins for the tests of this folder: modules made on the spot, and packages that are really installed on a path."""

from __future__ import annotations

import importlib
import shutil
import sys
import types
from pathlib import Path

import pytest

from registry_core import Registry, hookimpl

FIXTURES = Path(__file__).parent / "fixture_plugins"
HEADER = "from registry_core import ModelConfig, Url, Weights, hookimpl\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("acme", {"entry": source or path}) puts a distribution on the path, with modules `<dist>_<entry>`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(distribution, entries, *, number="1.2.3"):
        points = []
        for entry, source in entries.items():
            module = f"{distribution}_{entry}"
            if isinstance(source, Path) and source.is_dir():
                shutil.copytree(source, site / module)
                module = f"{module}.plugin"
            elif isinstance(source, Path):
                shutil.copy(source, site / f"{module}.py")
            else:
                (site / f"{module}.py").write_text(HEADER + source)
            points.append(f"{entry} = {module}")
        info = site / f"{distribution}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {number}\n")
        (info / "entry_points.txt").write_text("[registry_core.plugins]\n" + "\n".join(points) + "\n")
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def acme_models():
    """The file of a plugin that lists a model and a tag, and owns no architecture."""
    return FIXTURES / "acme_models.py"


@pytest.fixture
def acme_arch(install):
    """A registry with the installed plugin `acme_arch`, which owns an architecture."""
    install("acme", {"acme_arch": FIXTURES / "acme_arch"})
    return Registry()


@pytest.fixture
def plugin():
    """plugin("extra", list_models=function, ...) returns a plugin module with these hooks."""

    def make(name="extra", **hooks):
        module = types.ModuleType(name)
        for hook, function in hooks.items():
            function.__name__ = hook
            setattr(module, hook, hookimpl(function))
        return module

    return make


@pytest.fixture
def record():
    """record(registry, name) returns the registry's record of a plugin."""
    return lambda registry, name: next(plugin for plugin in registry.plugins() if plugin.name == name)
