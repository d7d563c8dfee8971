"""Imports: torch and other large packages are not imported by lookups."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "PIL", "requests", "rich", "safetensors", "numpy", "tqdm", "timm", "transformers")


def imported(code):
    """Run `code` in a new process and return the packages of HEAVY that it imported."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "code",
    [
        "import registry_core",
        "import registry_core.cli",
        "import registry_core.zero_shot.classifier",
        "from registry_core import registry; assert registry.list_models() and registry.list_pretrained()",
        "from registry_core import registry; assert not [p for p in registry.plugins() if p.error]",
        "from registry_core import registry; registry.config('daclip_ViT-B-32')",
        "from registry_core import registry; registry.explain('daclip_ViT-B-32', 'openai')",
        "import registry_core.losses.choose, registry_core.losses.options",
        "import registry_core as r\ntry: r.registry.loss('ViT-B-33')\nexcept r.RegistryError: pass",
        "import registry_core as r\ntry: r.registry.create('ViT-B-33')\nexcept r.RegistryError: pass",
    ],
    ids=[
        "import",
        "cli",
        "classify",
        "list",
        "plugins",
        "config",
        "explain",
        "losses",
        "unknown loss",
        "unknown name",
    ],
)
def test_imports_nothing_heavy(code):
    assert imported(code) == []


@pytest.mark.parametrize("package", ["losses", "towers", "zero_shot"])
def test_dir_lists_every_export_of_a_package_and_imports_nothing_heavy(package):
    listed = f"import registry_core.{package} as package; assert not set(package.__all__) - set(dir(package))"
    assert imported(listed) == []


def test_the_check_sees_an_import():
    assert "torch" in imported("import torch")
