"""Plugins that are registered by hand, and a cache with files."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from registry_core import HubFile, Url, Weights, hookimpl
from registry_core.fetch import fetch


@pytest.fixture
def add_plugin(registry):
    """add_plugin("acme", list_models=function) registers a plugin with these hooks; returns its record."""

    def add_plugin(name, **hooks):
        for hook, function in hooks.items():
            function.__name__ = hook
        marked = {hook: hookimpl(function) for hook, function in hooks.items()}
        return registry.register(SimpleNamespace(**marked), name)

    return add_plugin


@pytest.fixture
def cached(server, context, body_of, monkeypatch, no_settings):
    """A cache with the file of a URL and a hub file, as REGISTRY_CORE_CACHE. Returns their paths."""
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(context.folder))
    server.add("/org/repo/resolve/main/hub.pt", body_of(2048), headers={"X-Repo-Commit": "ab" * 20})
    sources = Url(server.add("/openai/w.pt", body_of(1000))), HubFile("org/repo", ("hub.pt",))
    return [fetch(Weights((source,)), {}, context).path for source in sources]
