"""Every public name of open_clip 3.3 exists with a compatible signature, or the docs list it as left out."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from registry_core.compat import open_clip as layer

DOCS = Path(__file__).parents[2] / "docs" / "from-open_clip.md"

pytestmark = pytest.mark.parity

# Constructors that take a config object here. The docs explain why.
OTHER_CONSTRUCTORS = {"CLIP", "CustomTextCLIP", "CoCa", "CLIPTextCfg", "CLIPVisionCfg"}
# Defaults that differ from open_clip's. Its own are the path of its merges, a device that may not be that of the model,
# and objects of torch, which would import torch here.
OTHER_DEFAULTS = {
    ("SimpleTokenizer", "bpe_path"): None,
    ("build_zero_shot_classifier", "device"): None,
    ("build_zero_shot_classifier_legacy", "device"): None,
    ("convert_weights_to_lp", "dtype"): None,
    ("convert_weights_to_fp16", "dtype"): None,
    ("trace_model", "device"): "cpu",
}


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("open_clip")


def public(module):
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def left_out():
    """Return the names in the table of the section "Left out" in the docs."""
    section = DOCS.read_text(encoding="utf-8").split("## Left out")[1].split("\n## ")[0]
    return {
        name for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }


def test_each_name_exists_or_is_left_out_with_a_reason(theirs):
    names = public(theirs)
    assert len(names) > 45
    missing = {name for name in names if not hasattr(layer, name)}
    assert missing <= left_out()
    assert not missing & set(layer.__all__)


def test_each_name_that_exists_is_listed(theirs):
    assert public(theirs) & set(dir(layer)) == public(theirs) & set(layer.__all__)


def test_modules_exist_with_their_public_names(theirs):
    modules = {name for name, value in vars(theirs).items() if isinstance(value, types.ModuleType)}
    for name in sorted(modules - left_out()):
        ours, there = (importlib.import_module(f"{package}.{name}") for package in (layer.__name__, "open_clip"))
        own = {n for n in public(theirs) if getattr(getattr(theirs, n), "__module__", "") == there.__name__}
        assert [n for n in own & set(vars(there)) - left_out() if not hasattr(ours, n)] == []


def test_signatures_accept_every_call_that_open_clip_accepts(theirs):
    compared = 0
    for name in sorted(public(theirs)):
        there, ours = getattr(theirs, name), getattr(layer, name, None)
        if not callable(there) or ours is None or name in OTHER_CONSTRUCTORS:
            continue
        compared += 1
        found = list(inspect.signature(ours).parameters.values())
        for position, parameter in enumerate(inspect.signature(there).parameters.values()):
            own = found[position] if position < len(found) else None
            assert own is not None, f"{name} lacks {parameter.name}"
            assert (own.name, own.kind) == (parameter.name, parameter.kind), f"{name}: argument {position}"
            expected = OTHER_DEFAULTS.get((name, parameter.name), parameter.default)
            assert own.default == expected, f"{name}: the default of {parameter.name}"
        extra = found[len(inspect.signature(there).parameters) :]
        assert all(parameter.default is not parameter.empty for parameter in extra), f"{name} needs more"
    assert compared > 35


def test_constants_are_equal(theirs):
    for name in ("OPENAI_DATASET_MEAN", "OPENAI_DATASET_STD", "OPENAI_IMAGENET_TEMPLATES", "IMAGENET_CLASSNAMES"):
        ours, there = getattr(layer, name), getattr(theirs, name)
        if callable(there[0]):
            ours, there = [one("cat") for one in ours], [one("cat") for one in there]
        assert list(ours) == list(there)
    assert layer.__version__ == theirs.__version__
    constants = importlib.import_module("registry_core.compat.open_clip.constants")
    for name, value in vars(importlib.import_module("open_clip.constants")).items():
        if name.isupper():
            assert getattr(constants, name) == value


def test_importing_the_layer_and_listing_imports_no_torch():
    code = """
import sys
sys.modules["torch"] = None
from registry_core.compat import open_clip
assert open_clip.list_models() and open_clip.list_pretrained(as_str=True)
assert open_clip.is_pretrained_cfg("ViT-B-32", "openai") and open_clip.get_model_config("RN50")["embed_dim"] == 1024
assert open_clip.get_pretrained_url("ViT-B-32", "openai").startswith("https://")
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error_that_points_to_the_docs():
    with pytest.raises(AttributeError, match=r"has no 'no_such_name'\. docs/from-open_clip\.md lists the names"):
        layer.no_such_name  # noqa: B018
