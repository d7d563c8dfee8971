"""The contract for every plugin: installed, quick to import, valid models and tags, no answers for other plugins."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from registry_core import ModelConfig, Registry, Weights, hookspecs
from registry_core.diagnose.conflicts import find_conflicts
from registry_core.hooks.plugin import Plugin
from registry_core.testing.process import HEAVY, ask_python

_LISTING = """
import json
from registry_core import Registry
registry = Registry()
plugin = next(p for p in registry.plugins() if p.name == sys.argv[1])
own = sorted(registry.services.calls.host.ask_one(plugin, "list_models") or {})
base = registry.services.catalog.base_models()
own += sorted(registry.services.calls.host.ask_one(plugin, "derive_models", base=base) or {})
listed, tags = registry.list_models(), registry.list_pretrained()
for name in own:
    registry.config(f"{plugin.name}::{name}")
print(json.dumps({"error": str(plugin.error or ""), "absent": [name for name in own if name not in listed]}))
"""

_IMPORTING = """
import importlib, json, time
import registry_core, registry_core.config.tables
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - start, "heavy": [m for m in sys.argv[2:] if m in sys.modules]}))
"""


class PluginContract:
    """The tests for any plugin.

    Attributes:
        plugin: Name of the plugin's entry point.
        import_seconds: How long importing the plugin's module may take, in addition to registry_core.
    """

    plugin: ClassVar[str]
    import_seconds: ClassVar[float] = 0.5

    @pytest.fixture(autouse=True)
    def _surroundings(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hide the user's cache, configs and plugin selection from the tests."""
        for name in [name for name in os.environ if name.startswith("REGISTRY_CORE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path_factory.mktemp("cache")))

    @pytest.fixture
    def registry(self) -> Registry:
        """A new registry of all installed plugins."""
        return Registry()

    @pytest.fixture
    def record(self, registry: Registry) -> Plugin:
        """The plugin as the registry knows it."""
        found = [plugin for plugin in registry.plugins() if plugin.name == self.plugin]
        assert found, f"No installed distribution provides a plugin {self.plugin!r}. Install the package first."
        return found[0]

    def test_is_installed_and_works(self, record: Plugin) -> None:
        assert record.error is None
        assert record.active, "none of its functions is marked with @hookimpl"
        assert Path(record.file).is_file()

    def test_marks_every_function_that_has_a_hooks_name(self, record: Plugin) -> None:
        assert record.notes == []

    def test_is_light_to_import(self, record: Plugin) -> None:
        found = ask_python(_IMPORTING, record.location.partition(":")[0], *HEAVY)
        assert found["heavy"] == [], "import these modules inside the functions that need them"
        assert found["seconds"] < self.import_seconds

    @pytest.mark.usefixtures("record")
    def test_lists_and_validates_without_torch(self) -> None:
        assert ask_python(_LISTING, self.plugin, without=HEAVY) == {"error": "", "absent": []}

    def test_lists_models_as_json(self, registry: Registry, record: Plugin) -> None:
        for name, raw in own_models(registry, record).items():
            assert isinstance(name, str), name
            assert isinstance(raw, Mapping), name
            assert json.loads(json.dumps(raw)) == raw, f"the config of {name} is not plain JSON"

    def test_derives_from_models_that_there_are(self, registry: Registry, record: Plugin) -> None:
        base = registry.services.catalog.base_models()
        for name, base_name in own_derived(registry, record).items():
            assert base_name in base, f"{name} is derived from {base_name!r}, which no plugin lists"
            assert name not in base, f"{name} is derived, but is listed too"

    def test_each_listed_model_has_a_config_that_leads_back_to_itself(self, registry: Registry, record: Plugin) -> None:
        for name in own_models(registry, record):
            resolved = registry.services.resolve(f"{self.plugin}::{name}")
            assert isinstance(resolved.config, ModelConfig), name
            assert round_trips(registry, resolved.config), name

    def test_each_tag_leads_to_weights_that_can_be_fetched(self, registry: Registry, record: Plugin) -> None:
        schemes = {"file", "http", "https", "hf-hub", *registry.services.fetchers()}
        hook = "resolve_pretrained"
        for model, tag in own_tags(registry, record):
            resolved = registry.services.resolve(model)
            given = {"name": resolved.name, "config": resolved.config, "tag": tag, "registry": registry}
            weights = registry.services.calls.host.ask_one(record, hook, **all_arguments(hook, **given))
            assert isinstance(weights, Weights), f"{hook} returns no weights for the listed tag {tag!r} of {model!r}"
            assert weights.tag == tag, f"the weights for tag {tag!r} of {model!r} have another tag"
            assert weights.sources, f"tag {tag!r} of {model!r} has no source"
            unknown = {source.scheme for source in weights.sources} - schemes
            assert not unknown, f"no fetcher exists for a source of tag {tag!r} of {model!r}"

    def test_answers_for_nothing_that_is_not_its_own(self, registry: Registry, record: Plugin) -> None:
        def ask(hook: str, **arguments: Any) -> Any:
            return registry.services.calls.host.ask_one(
                record, hook, **all_arguments(hook, registry=registry, **arguments)
            )

        assert ask("resolve_config", name="surely-no-such-model", raw=None) is None
        assert (
            ask("resolve_config", name="surely-no-such-model", raw={"architecture": "surely-no-such-architecture"})
            is None
        )
        for name in list(own_models(registry, record))[:1]:
            found = ask("resolve_pretrained", name=name, config=registry.config(name), tag="surely-no-such-tag")
            assert found is None

    def test_brings_no_name_that_another_plugin_brings(self, registry: Registry, record: Plugin) -> None:
        assert [str(conflict) for conflict in find_conflicts(registry.services) if record in conflict.plugins] == []

    def test_is_still_without_fault_after_all_questions(self, registry: Registry, record: Plugin) -> None:
        registry.list_models()
        registry.list_pretrained()
        registry.services.fetchers()
        described = registry.services.calls.host.ask_one(record, "describe_models") or {}
        assert all(isinstance(text, str) for column in described.values() for text in column.values())
        assert record.error is None


def all_arguments(hook: str, **given: Any) -> dict[str, Any]:
    """Return all arguments that a hook may take. Those that are not given are None."""
    return {**dict.fromkeys(inspect.signature(getattr(hookspecs, hook)).parameters), **given}


def own_models(registry: Registry, plugin: Plugin) -> Mapping[str, Any]:
    """Return the raw configs that a plugin lists."""
    return registry.services.calls.host.ask_one(plugin, "list_models") or {}


def own_derived(registry: Registry, plugin: Plugin) -> Mapping[str, str]:
    """Return the names that a plugin derives, with their base names."""
    base = registry.services.catalog.base_models()
    return registry.services.calls.host.ask_one(plugin, "derive_models", base=base) or {}


def own_tags(registry: Registry, plugin: Plugin) -> Iterator[tuple[str, str]]:
    """Yield the (model, tag) pairs that a plugin lists."""
    yield from registry.services.calls.host.ask_one(plugin, "list_pretrained") or ()


def round_trips(registry: Registry, config: ModelConfig) -> bool:
    """Whether a config that is written as JSON and resolved again is equal to itself."""
    raw = json.loads(json.dumps(config.raw()))
    return registry.services.claim(raw, "its own JSON").config == config
