"""docs/writing-a-plugin.md: its files are installed, and its code is run in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "writing-a-plugin.md"
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>\w+) -->\n)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<path>[\w/]+\.py)\n")


def blocks():
    """Yield (package that the block needs or None, line of the page, code)."""
    text = PAGE.read_text()
    for match in BLOCK.finditer(text):
        yield match["needs"], text.count("\n", 0, match.start("code")), match["code"]


def install(site):
    """Write the files of the page and a distribution for each plugin. Return the other blocks as one program."""
    program = []
    for needs, line, code in blocks():
        if needs and find_spec(needs) is None:
            continue
        named = FILE.match(code)
        if named is None:
            program.append("\n" * (line - sum(part.count("\n") for part in program)) + code)
            continue
        path = site / named["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        if path.name == "plugin.py":
            name = path.parent.name
            (path.parent / "__init__.py").touch()
            info = site / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[registry_core.plugins]\n{name} = {name}.plugin\n")
    return "".join(program)


def run(site, code, *arguments):
    command = [sys.executable, "-P", "-c", f"import sys; {code}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_contains_all_its_plugins():
    files = {FILE.match(code)["path"] for _, _, code in blocks() if FILE.match(code)}
    plugins = {
        "acme_tags",
        "acme_store",
        "acme_freeze",
        "acme_int8",
        "acme_lora",
        "acme_bytes",
        "acme_apart",
        "acme_facts",
    }
    assert {f"{name}/plugin.py" for name in plugins} <= files


def test_every_block_runs(tmp_path):
    """Blocks that need a package that is not installed are left out."""
    script, site = tmp_path / "page.py", tmp_path / "site"
    site.mkdir()
    script.write_text(install(site))
    assert ("lora_tiny" in script.read_text()) is (find_spec("peft") is not None)
    run(site, "import runpy; runpy.run_path(sys.argv[1])", str(script))


def test_its_contract_test_passes_and_its_plugins_have_no_errors(tmp_path):
    install(tmp_path)
    out = run(
        tmp_path,
        "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1]]))",
        str(tmp_path / "tests_of_acme"),
    )
    assert " passed" in out
    code = "from registry_core import Registry; print([p.name for p in Registry().plugins() if p.error or p.notes])"
    assert run(tmp_path, code).strip() == "[]"
