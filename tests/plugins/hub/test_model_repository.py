"""The contract of model repositories: any plugin may provide names that refer to one."""

from __future__ import annotations

import copy
import pickle
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_core import (
    LocalFile,
    PluginError,
    Registry,
    UnknownWeightsError,
    Weights,
    hookimpl,
)
from registry_core.config.user import read_raw


@dataclass(frozen=True)
class Shelf:
    """A third party's kind of model repository: files with a common prefix."""

    prefix: Path

    @property
    def config(self):
        return self.file("config.json")

    def file(self, name):
        return LocalFile(self.prefix.with_name(f"{self.prefix.name}-{name}"))

    def weights(self):
        source = self.file("weights.safetensors")
        if not source.path.exists():
            raise UnknownWeightsError(f"no weights on the shelf {self.prefix}", path=source.path)
        return Weights((source,))


def shelves(answer=Shelf):
    """A plugin with a scheme of its own."""

    @hookimpl
    def resolve_config(name, raw, registry, cache_dir):
        if raw is not None or not name.startswith("shelf:"):
            return None
        source = Shelf(Path(name.removeprefix("shelf:"))).config
        return registry.services.claim(
            read_raw(registry.services.fetch(Weights((source,)), cache_dir).path), name
        ).config

    @hookimpl
    def resolve_home(name):
        return answer(Path(name.removeprefix("shelf:")))

    module = types.ModuleType("shelves")
    module.resolve_config, module.resolve_home = resolve_config, resolve_home
    return module


@pytest.fixture
def shelf(folder, tmp_path):
    (folder / "open_clip_config.json").rename(tmp_path / "a-config.json")
    (folder / "open_clip_model.safetensors").rename(tmp_path / "a-weights.safetensors")
    return f"shelf:{tmp_path / 'a'}"


def test_a_third_partys_scheme_provides_config_and_weights(registry, model, shelf, same, tmp_path):
    registry.register(shelves())
    again = registry.create(shelf)
    assert same(model, again)
    assert registry.report(again).home == Shelf(tmp_path / "a")
    assert registry.explain(shelf).origin == str(tmp_path / "a-config.json")


def test_its_own_error_reaches_the_caller(registry, shelf, tmp_path):
    registry.register(shelves())
    (tmp_path / "a-weights.safetensors").unlink()
    with pytest.raises(UnknownWeightsError) as caught:
        registry.create(shelf)
    assert caught.value.path == tmp_path / "a-weights.safetensors"


def test_an_answer_that_is_not_a_model_repository_is_the_plugins_fault(registry, shelf):
    registry.register(shelves(answer=str))
    with pytest.raises(PluginError, match=r"expected a ModelRepository or None.*Nothing was built") as caught:
        registry.create(shelf)
    assert (caught.value.plugin, caught.value.hook) == ("shelves", "resolve_home")


def test_only_the_plugin_that_resolved_the_name_is_asked(registry, model, folder, same):
    """Otherwise any plugin could replace the weights of any name."""
    registry.register(shelves())
    assert same(model, registry.create(f"local-dir:{folder}"))
    assert registry.report(registry.create("tiny", False)).home is None


@pytest.mark.parametrize("through", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_it_goes_with_copies_of_the_model(registry, folder, same, through):
    made = registry.create(f"local-dir:{folder}")
    again = through(made)
    assert same(made, again)
    assert Registry().report(again).home.config.path == folder / "open_clip_config.json"
