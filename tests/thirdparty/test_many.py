"""Two hundred plugins with fifty models each: which costs grow with their number, and which do not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COUNT, EACH = 200, 50
SOURCE = """
from registry_core import hookimpl, model_table
_models = model_table(__package__)
@hookimpl
def list_models():
    return _models()
@hookimpl
def resolve_config(name, raw, registry):
    row = _models().get(name) if raw is None else None
    return None if row is None else registry.services.claim(row, name).config
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    site = tmp_path_factory.mktemp("many")
    for number in range(COUNT):
        name = f"fake_{number:03}"
        package, info = site / name, site / f"{name}-1.0.dist-info"
        package.mkdir()
        info.mkdir()
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(SOURCE)
        rows = ({"name": f"{name}-{m}", "embed_dim": 64, "vision_cfg": {}, "text_cfg": {}} for m in range(EACH))
        (package / "models.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[registry_core.plugins]\n{name} = {name}.plugin\n")
    return site


def run(many, code, *arguments):
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(many)!r})\n{code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_listed_and_all_work(many):
    out = run(
        many,
        "from registry_core import registry; import json\n"
        "names = registry.list_models('fake_*')\n"
        "plugins = registry.plugins()\n"
        "print(json.dumps([len(names), [str(p.error) for p in plugins if p.error], len(plugins)]))",
    )
    models, errors, plugins = json.loads(out)
    assert models == COUNT * EACH
    assert errors == []
    assert plugins > COUNT


def test_the_list_is_printed_without_a_heavy_table(many):
    # A table library takes a millisecond for each row, and the user would wait for twenty thousand rows.
    out = run(many, "from registry_core.cli import main\nmain(['list'])\nprint('rich.table' in sys.modules)")
    lines = out.splitlines()
    assert len(lines) > 2 * COUNT * EACH, "daclip adds a model for each of them"
    assert lines[-1] == "False"


def test_create_calls_no_listing_hook(many):
    code = """
import json
from registry_core import Registry
from registry_core.hooks.trace import recorded
registry = Registry()
registry.plugins()
with recorded() as steps:
    registry.create("ViT-B-32", device="meta")
print(json.dumps(sorted({step.hook for step in steps})))
"""
    hooks = json.loads(run(many, code))
    assert "resolve_config" in hooks
    assert not {"list_models", "derive_models", "list_pretrained", "describe_models"} & set(hooks)


def test_only_selected_plugins_are_imported(many):
    code = """
import json
from registry_core import Registry
registry = Registry(plugins=["openai_clip", "fake_007"])
registry.list_models()
print(json.dumps(sorted(name for name in sys.modules if name.startswith("fake_") and name.endswith(".plugin"))))
"""
    assert json.loads(run(many, code)) == ["fake_007.plugin"]
