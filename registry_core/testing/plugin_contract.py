"""What every plugin keeps: it is installed, light, names its models and tags well, and answers for nothing else."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from registry_core import ModelConfig, Registry, Weights, hookspecs
from registry_core.clashes import find_clashes
from registry_core.plugins import Plugin
from registry_core.testing.process import HEAVY, ask_python

_LISTING = """
import json
from registry_core import Registry
registry = Registry()
plugin = next(p for p in registry.plugins() if p.name == sys.argv[1])
own = sorted(registry.services.host.ask_one(plugin, "list_models") or {})
base = registry.services.lookup.base_models()
own += sorted(registry.services.host.ask_one(plugin, "derive_models", base=base) or {})
listed, tags = registry.list_models(), registry.list_pretrained()
for name in own:
    registry.config(f"{plugin.name}::{name}")
print(json.dumps({"error": str(plugin.error or ""), "absent": [name for name in own if name not in listed]}))
"""

_IMPORTING = """
import importlib, json, time
import registry_core, registry_core.tables
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - start, "heavy": [m for m in sys.argv[2:] if m in sys.modules]}))
"""


class PluginContract:
    """The tests of a plugin that brings anything at all.

    Attributes:
        plugin: the name of its entry point.
        import_seconds: how long importing its module may take, on top of registry_core.
    """

    plugin: ClassVar[str]
    import_seconds: ClassVar[float] = 0.5

    @pytest.fixture(autouse=True)
    def _surroundings(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests see no cache, no configs and no plugin list of the user's."""
        for name in [name for name in os.environ if name.startswith("REGISTRY_CORE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path_factory.mktemp("cache")))

    @pytest.fixture
    def registry(self) -> Registry:
        """A fresh registry of everything that is installed."""
        return Registry()

    @pytest.fixture
    def record(self, registry: Registry) -> Plugin:
        """What the registry knows about the plugin."""
        found = [plugin for plugin in registry.plugins() if plugin.name == self.plugin]
        assert found, f"No installed distribution brings a plugin {self.plugin!r}: install the package, then test it."
        return found[0]

    def test_is_installed_and_works(self, record: Plugin) -> None:
        assert record.error is None
        assert record.active, "none of its functions is marked with @hookimpl"
        assert Path(record.file).is_file()

    def test_marks_every_function_that_has_a_hooks_name(self, record: Plugin) -> None:
        assert record.notes == []

    def test_is_light_to_import(self, record: Plugin) -> None:
        found = ask_python(_IMPORTING, record.location.partition(":")[0], *HEAVY)
        assert found["heavy"] == [], "import these inside the functions that need them"
        assert found["seconds"] < self.import_seconds

    @pytest.mark.usefixtures("record")
    def test_lists_and_validates_without_torch(self) -> None:
        assert ask_python(_LISTING, self.plugin, without=HEAVY) == {"error": "", "absent": []}

    def test_lists_models_as_json(self, registry: Registry, record: Plugin) -> None:
        for name, raw in own_models(registry, record).items():
            assert isinstance(name, str), name
            assert isinstance(raw, Mapping), name
            assert json.loads(json.dumps(raw)) == raw, f"{name}: not plain JSON"

    def test_derives_from_models_that_there_are(self, registry: Registry, record: Plugin) -> None:
        base = registry.services.lookup.base_models()
        for name, of in own_derived(registry, record).items():
            assert of in base, f"{name} is derived from {of!r}, which nobody lists"
            assert name not in base, f"{name} is derived, and listed as well"

    def test_each_listed_model_has_a_config_that_leads_back_to_itself(self, registry: Registry, record: Plugin) -> None:
        for name in own_models(registry, record):
            resolved = registry.services.resolve(f"{self.plugin}::{name}")
            assert isinstance(resolved.config, ModelConfig), name
            assert leads_back(registry, resolved.config), name

    def test_each_tag_leads_to_weights_that_can_be_fetched(self, registry: Registry, record: Plugin) -> None:
        schemes = {"file", "http", "https", "hf-hub", *registry.services.lookup.fetchers()}
        for model, tag in own_tags(registry, record):
            resolved = registry.services.resolve(model)
            asked = {"name": resolved.name, "config": resolved.config, "tag": tag, "registry": registry}
            hook = "resolve_pretrained"
            weights = registry.services.host.ask_one(record, hook, **question(hook, **asked))
            assert isinstance(weights, Weights), f"tag {tag!r} of {model!r} is listed and leads nowhere"
            assert weights.tag == tag, f"the weights of {tag!r} of {model!r} must carry the tag"
            assert weights.sources, f"tag {tag!r} of {model!r} has no source"
            assert {source.scheme for source in weights.sources} <= schemes, f"tag {tag!r} of {model!r}"

    def test_answers_for_nothing_that_is_not_its_own(self, registry: Registry, record: Plugin) -> None:
        def ask(hook: str, **arguments: Any) -> Any:
            return registry.services.host.ask_one(record, hook, **question(hook, registry=registry, **arguments))

        assert ask("resolve_config", name="surely-no-such-model", raw=None) is None
        assert ask("resolve_config", name="a stranger", raw={"architecture": "surely-no-such-architecture"}) is None
        for name in list(own_models(registry, record))[:1]:
            found = ask("resolve_pretrained", name=name, config=registry.config(name), tag="surely-no-such-tag")
            assert found is None

    def test_brings_no_name_that_another_plugin_brings(self, registry: Registry, record: Plugin) -> None:
        assert [str(clash) for clash in find_clashes(registry.services) if record in clash.plugins] == []

    def test_is_still_without_fault_after_all_questions(self, registry: Registry, record: Plugin) -> None:
        registry.list_models()
        registry.list_pretrained()
        registry.services.lookup.fetchers()
        described = registry.services.host.ask_one(record, "describe_models") or {}
        assert all(isinstance(text, str) for column in described.values() for text in column.values())
        assert record.error is None


def question(hook: str, **given: Any) -> dict[str, Any]:
    """All arguments that a hook may take; None for those that a test does not speak of."""
    return {**dict.fromkeys(inspect.signature(getattr(hookspecs, hook)).parameters), **given}


def own_models(registry: Registry, plugin: Plugin) -> Mapping[str, Any]:
    """Raw configs that a plugin lists."""
    return registry.services.host.ask_one(plugin, "list_models") or {}


def own_derived(registry: Registry, plugin: Plugin) -> Mapping[str, str]:
    """Names that a plugin derives -> their bases."""
    base = registry.services.lookup.base_models()
    return registry.services.host.ask_one(plugin, "derive_models", base=base) or {}


def own_tags(registry: Registry, plugin: Plugin) -> Iterator[tuple[str, str]]:
    """The tags that a plugin lists."""
    yield from registry.services.host.ask_one(plugin, "list_pretrained") or ()


def leads_back(registry: Registry, config: ModelConfig) -> bool:
    """Whether a config, written as JSON and claimed again, is itself."""
    written = json.loads(json.dumps(config.raw()))
    return registry.services.claim(written, "its own JSON").config == config
