from __future__ import annotations

import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest
import registry_plugins

import registry_core

CHECKOUT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGINS = sorted(path.parent.name for path in (CHECKOUT / "plugins").glob("*/plugin.py"))
ALWAYS = {"__init__.py", "plugin.py", "config.py"}
ARCHITECTURE = {"model.py", "convert.py"}
OPTIONAL = {"models.jsonl", "pretrained.jsonl", "layouts.py", "options.py", "mobileclip.py", "loss.py"}
OPTIONAL |= {"generation.py", "next_token.py", "scores.py", "beam_search.py"}  # of models that write
SCHEMES = {"hub"}  # brings ways to name models, and no architecture

PUBLIC_NAMES = [
    "ActivationOptions",
    "AnyTextConfig",
    "AnyVisionConfig",
    "AugmentationConfig",
    "BuildError",
    "CheckpointError",
    "ConfigError",
    "ConflictError",
    "Conversion",
    "FetchError",
    "HFTextConfig",
    "HubFile",
    "ImageAspects",
    "ImageTower",
    "ImageTowerConfig",
    "InputError",
    "IntegrityError",
    "LazyTensor",
    "LoadReport",
    "LocalFile",
    "LookupFailedError",
    "LossOptions",
    "ModelConfig",
    "ModelRepository",
    "NormOptions",
    "OfflineError",
    "OverrideError",
    "PluginError",
    "PluginRegistry",
    "PluginServices",
    "PreprocessConfig",
    "RandomWeightsWarning",
    "RawConfig",
    "Registry",
    "RegistryError",
    "ResolvedModel",
    "Rule",
    "Source",
    "StateDictError",
    "StrictModel",
    "TakenNameError",
    "TextConfig",
    "TextTower",
    "TextTowerConfig",
    "TimmVisionConfig",
    "TwoTowerModel",
    "UnknownModelError",
    "UnknownWeightsError",
    "UnsafeCheckpointError",
    "Url",
    "VisionConfig",
    "Weights",
    "__version__",
    "hookimpl",
    "local_weights",
    "model_table",
    "registry",
    "relayout",
    "tag_table",
    "tag_weights",
]


def folders(root, name):
    """The packages under a folder, by dotted name."""
    return {
        ".".join((name, *init.parent.relative_to(root).parts))
        for init in root.rglob("__init__.py")
        if "__pycache__" not in init.parts
    }


def test_the_package_list_is_the_folders():
    on_disk = folders(CHECKOUT / "registry_core", "registry_core") | folders(CHECKOUT / "plugins", "registry_plugins")
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert set(listed) == on_disk
    assert listed == sorted(listed)


def test_no_code_lies_in_a_folder_that_is_no_package():
    for root in ("registry_core", "plugins"):
        for code in (CHECKOUT / root).rglob("*.py"):
            assert (code.parent / "__init__.py").exists(), code


@pytest.mark.parametrize("package", [registry_core, registry_plugins])
def test_the_tests_run_against_what_is_installed(package):
    found = Path(package.__file__)
    assert found.parent not in {CHECKOUT / "registry_core", CHECKOUT / "plugins"}, "taken from the checkout by sys.path"
    assert any(part.startswith("__editable__") or part == "site-packages" for part in found.parts)


def test_a_wheel_has_two_top_levels_only():
    installed = distribution("registry_core")
    names = {Path(str(file)).parts[0] for file in installed.files or ()}
    code = {name for name in names if not name.endswith((".dist-info", ".pth")) and name not in {"..", "__pycache__"}}
    assert code <= {"registry_core", "registry_plugins"}
    assert not {"tests", "plugins"} & set((installed.read_text("top_level.txt") or "").split())


@pytest.mark.parametrize("package", [registry_core, registry_plugins])
def test_types_are_declared(package):
    assert Path(package.__file__).with_name("py.typed").exists()


def test_every_plugin_folder_has_its_entry_point():
    installed = {p.name: p.value for p in entry_points(group="registry_core.plugins") if p.dist.name == "registry_core"}
    assert installed == {name: f"registry_plugins.{name}.plugin" for name in PLUGINS}


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin_folders_have_the_same_file_names(name):
    found = {path.name for path in (CHECKOUT / "plugins" / name).iterdir() if path.name != "__pycache__"}
    if name in SCHEMES:
        assert "plugin.py" in found
        assert not ARCHITECTURE & found
    else:
        assert found >= ALWAYS | ARCHITECTURE
    assert found <= ALWAYS | ARCHITECTURE | OPTIONAL


def test_the_version_is_one():
    assert registry_core.__version__ == distribution("registry_core").version == SETTINGS["project"]["version"]


def test_the_public_names_are_frozen():
    assert sorted(registry_core.__all__) == PUBLIC_NAMES
    assert not [name for name in PUBLIC_NAMES if not hasattr(registry_core, name)]
