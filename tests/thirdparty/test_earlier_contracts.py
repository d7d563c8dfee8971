"""Packages as they were written for versions 1 and 2 of the contract: they are installed, and work unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EARLIER = Path(__file__).parent / "earlier"
NAMES = {
    "contract_1_acme": "acme_first",
    "contract_1_alpha_clip": "alpha_clip",
    "contract_1_long_clip": "long_clip",
    "contract_2_acme": "acme_second",
}

USE = """
import json, sys, warnings
from pathlib import Path

import torch

from registry_core import registry

folder = Path(sys.argv[1])
torch.manual_seed(0)
model = registry.create("acme-first-tiny", pretrained=False)
torch.save(model.state_dict(), folder / "acme-first.pt")
registry.save(model, folder / "shelf")
tagged = registry.create("acme-first-tiny", "first")
shelved = registry.create(f"acme-shelf:{folder / 'shelf'}")
same = [
    all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    for other in (tagged, shelved)
]
home = registry.report(shelved).home
derived = registry.config("daclip_acme-first-tiny").embed_dim
print(json.dumps({"same": same, "home": type(home).__name__, "derived": derived}))
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """An environment with the packages, and the folders that they were installed from."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("thirdparty_conftest", Path(__file__).with_name("conftest.py"))
    conftest = module_from_spec(spec)
    spec.loader.exec_module(conftest)
    folder = tmp_path_factory.mktemp("earlier")
    environment = conftest.Environment(folder / "environment")
    environment.sources = {name: folder / name for name in NAMES}
    for name, source in environment.sources.items():
        shutil.copytree(EARLIER / name, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    environment.install(*environment.sources.values())
    environment.surroundings["ACME_FIRST"] = str(folder)
    environment.folder = folder
    return environment


def test_all_work_and_doctor_has_no_complaint(earlier):
    shown = json.loads(earlier.run("-m", "registry_core", "plugins", "--json").stdout)
    ours = [row for row in shown if row["plugin"] in NAMES.values()]
    states = {row["plugin"]: (row["state"], row["notes"], row["api"]) for row in ours}
    assert states == {
        "acme_first": ("works", [], 1),
        "acme_second": ("works", [], 2),
        "alpha_clip": ("works", [], 1),
        "long_clip": ("works", [], 1),
    }
    findings = json.loads(earlier.run("-m", "registry_core", "doctor", "--json", check=False).stdout)
    problems = [finding for finding in findings if finding["state"] == "problem"]
    assert problems == []


@pytest.mark.parametrize("name", ["contract_1_alpha_clip", "contract_1_long_clip", "contract_2_acme"])
def test_their_own_suites_pass(earlier, name):
    done = earlier.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=earlier.sources[name])
    assert " passed" in done.stdout


def test_old_names_of_modules_and_classes_serve_a_model(earlier):
    done = earlier.run("-c", USE, str(earlier.folder))
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"same": [True, True], "home": "Shelf", "derived": 16}
