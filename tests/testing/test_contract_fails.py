"""A plugin with a fault fails the contract test for this fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from registry_core.scaffold import write_plugin

# fault -> file of the package, text in it, replacement, and the test that must fail
FAULTS = {
    "imports torch": ("plugin.py", "REGISTRY_CORE_API", "import torch\nREGISTRY_CORE_API", "is_light_to_import"),
    "accepts any key": (
        "config.py", "    architecture:", '    model_config = {"extra": "ignore"}\n    architecture:',
        "refuses_unknown_config_keys",
    ),
    "forgets a mark": (
        "plugin.py", "@hookimpl\ndef list_pretrained", "def list_pretrained",
        "marks_every_function_that_has_a_hooks_name",
    ),
    "lists a tag without weights": (
        "plugin.py", "return list(_tags())", "return [('ViT-B-32', 'nowhere')]",
        "each_tag_leads_to_weights_that_can_be_fetched",
    ),
    "answers for every model": (
        "plugin.py", "return None if row is None else ", "return ", "answers_for_nothing_that_is_not_its_own",
    ),
    "leaves a parameter unwritten": (
        "model.py", "self.add_logit_parameters()\n",
        "self.add_logit_parameters()\n        self.extra = nn.Parameter(self.logit_scale.new_empty(3))\n",
        "writes_every_value_of_a_random_model",
    ),
    "renames what it saves": (
        "convert.py", "own = {name: tensor", "own = {name.replace('ln_', 'norm_'): tensor",
        "loads_its_own_state_dict_bit_by_bit",
    ),
    "drops unknown tensors": (
        "convert.py", "if name not in ARCHIVE_NUMBERS}", "if 'surely' not in name}",
        "refuses_a_checkpoint_with_an_unknown_key",
    ),
    "always builds both towers": (
        "model.py", "super().__init__(config, tower)", "super().__init__(config, None)", "the_absent_tower_says_so",
    ),
    "returns wrong features": (
        "model.py", "return self.encode_tokens(text)[0]", "return self.encode_tokens(text)[1]", "encodes_texts",
    ),
}  # fmt: skip


def failing(folder, test):
    """Run the contract tests of a name in a new process; return the names of those that fail, and the output."""
    options = ["-q", "-p", "no:cacheprovider", "-rfE", "-k", f"test_{test}"]
    command = [sys.executable, "-P", "-m", "pytest", *options, "tests/test_contract.py"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    return set(re.findall(r"^FAILED \S+::test_(\w+)", done.stdout, re.MULTILINE)), done.stdout + done.stderr


def written(folder):
    """Write the package of the scaffold, with the metadata of an installed distribution."""
    package = write_plugin("faulty", folder, {})
    info = folder / "faulty-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[registry_core.plugins]\nfaulty = faulty.plugin\n")
    return package.folder


@pytest.mark.parametrize("fault", ["imports torch", "leaves a parameter unwritten", "always builds both towers"])
def test_a_fault_is_found(tmp_path, fault):
    check(tmp_path, fault)


@pytest.mark.large
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(tmp_path, fault):
    check(tmp_path, fault)


def check(tmp_path, fault):
    folder = written(tmp_path / "faulty")
    name, old, new, expected = FAULTS[fault]
    path = folder / "faulty" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    failed, shown = failing(folder, expected)
    assert failed == {expected}, shown


def test_without_a_fault_the_same_tests_pass(tmp_path):
    folder = written(tmp_path / "faulty")
    failed, shown = failing(folder, "writes_every_value_of_a_random_model or test_is_light_to_import")
    assert failed == set()
    assert "2 passed" in shown
