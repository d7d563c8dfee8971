"""Really installed packages: in their own virtual environments, or as dist-info folders on a path."""

from __future__ import annotations

import importlib
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

collect_ignore = ["earlier"]  # packages with tests of their own, which run where they are installed

ROOT = Path(__file__).resolve().parents[2]
HEADER = "from registry_core import ModelConfig, Url, Weights, hookimpl\n"


class Environment:
    """A virtual environment that also sees the packages of the environment that runs the tests."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        # Unlike a plain path, addsitedir reads the .pth files in the folder. An editable installation is such a file.
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        (packages / "tests.pth").write_text("\n".join(lines) + "\n")
        self.python = folder / "bin" / "python"
        self.surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def install(self, *arguments):
        offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", *offline, *arguments]
        subprocess.run(command, check=True, env=self.surroundings)

    def run(self, *arguments, cwd=None, check=True):
        done = subprocess.run(
            [self.python, "-P", *arguments], capture_output=True, text=True, cwd=cwd, env=self.surroundings, check=False
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    """An environment with both example packages. `sources` holds the folders that they were installed from."""
    folder = tmp_path_factory.mktemp("examples")
    environment = Environment(folder / "environment")
    sources = [folder / name for name in ("long_clip", "alpha_clip")]
    for source in sources:  # a copy, because building writes files into the source
        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "examples" / source.name, source, ignore=ignored)
    environment.install(*sources)
    environment.sources = {source.name: source for source in sources}
    return environment


@pytest.fixture
def fresh_environment(tmp_path):
    """An environment without additional packages."""
    return Environment(tmp_path / "environment")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("acme", {"entry": source}) puts a distribution on the path of this process; returns the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def install(distribution, entries, *, number="1.2.3", requires=(), at=folder):
        points = []
        for entry, source in entries.items():
            module = f"{distribution.replace('-', '_')}_{entry}"
            at.mkdir(exist_ok=True)
            (at / f"{module}.py").write_text(HEADER + source)
            points.append(f"{entry} = {module}")
        info = at / f"{distribution.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {number}"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in requires)]) + "\n")
        (info / "entry_points.txt").write_text("[registry_core.plugins]\n" + "\n".join(points) + "\n")
        importlib.invalidate_caches()
        return at

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
