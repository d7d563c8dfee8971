"""The example packages: installed from wheels they pass their tests; they are small and import public names only."""

from __future__ import annotations

import ast
import importlib
import io
import json
import tokenize
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ("long_clip", "alpha_clip")
MOST_LINES = 150
# The modules of the core whose names plugins may import: those in `__all__`, or all of a module without one.
PUBLIC = {
    "registry_core",
    "registry_core.checkpoint",
    "registry_core.config",
    "registry_core.errors",
    "registry_core.fetch",
    "registry_core.losses",
    "registry_core.testing",
    "registry_core.towers",
    "registry_core.zero_shot",
}


def code_lines(path):
    """Count the lines with code, without blank lines, comments and docstrings."""
    text = path.read_text()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def imports(path):
    """Modules and names that a file imports from outside its package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("name", NAMES)
class TestEachExample:
    def test_passes_its_tests_as_an_installed_package(self, examples, name):
        done = examples.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=examples.sources[name])
        where = examples.run("-c", f"import {name}; print({name}.__file__)").stdout.strip()
        assert Path(where).is_relative_to(examples.folder)
        assert "site-packages" in where
        assert " passed" in done.stdout
        assert "skipped" not in done.stdout

    def test_is_small(self, name):
        files = sorted((EXAMPLES / name / name).glob("*.py"))
        assert {path.name for path in files} == {"__init__.py", "config.py", "convert.py", "model.py", "plugin.py"}
        counted = {path.name: code_lines(path) for path in files}
        assert sum(counted.values()) <= MOST_LINES, counted

    def test_imports_public_names_of_the_registry_only(self, name):
        for path in (EXAMPLES / name / name).glob("*.py"):
            for module, imported in imports(path):
                top = module.partition(".")[0]
                if top == "registry_core":
                    assert module in PUBLIC, f"{path.name} imports {module}"
                    found = importlib.import_module(module)
                    assert imported in getattr(found, "__all__", dir(found)), f"{path.name}: {module}.{imported}"
                else:
                    assert top in {"__future__", "collections", "typing", "torch"}, f"{path.name} imports {module}"


class TestBothTogether:
    def test_the_command_line_knows_them(self, examples):
        shown = examples.run("-m", "registry_core", "plugins", "--json")
        found = {row["plugin"]: row for row in json.loads(shown.stdout)}
        for name in NAMES:
            assert found[name]["state"] == "works"
            assert found[name]["notes"] == []
            assert found[name]["distribution"] == f"registry-{name.replace('_', '-')}"
        listed = json.loads(examples.run("-m", "registry_core", "list", "*clip_ViT-B-16", "--json").stdout)
        assert {"longclip_ViT-B-16", "alphaclip_ViT-B-16", "daclip_ViT-B-16"} <= listed.keys()
        assert {"longclip", "openai"} <= set(listed["longclip_ViT-B-16"])

    def test_explain_names_their_files(self, examples):
        shown = examples.run(
            "-m", "registry_core", "explain", "longclip_ViT-B-16", "--pretrained", "longclip", "--json"
        )
        found = json.loads(shown.stdout)
        assert found["plugin"] == found["answered"] == "long_clip (registry-long-clip 0.1.0)"
        first = found["steps"][0]
        assert (first["hook"], first["depth"]) == ("resolve_config", 0)
        assert {"alpha_clip", "long_clip", "openai_clip", "daclip"} <= set(first["asked"])
        (answer,) = first["answers"]
        assert answer["answer"] == "LongClipConfig"
        assert str(examples.folder) in answer["file"]
        assert found["conversion"].endswith(
            "A plain CLIP's text positions are stretched; those of a Long-CLIP stay as they are."
        )
        assert any(line.startswith("alpha_clip") for line in found["post_load"])

    def test_a_da_clip_over_another_image_tower_is_refused(self, examples):
        done = examples.run(
            "-m", "registry_core", "create", "daclip_alphaclip_ViT-B-16", "--device", "meta", check=False
        )
        assert done.returncode == 1
        assert "image tower is a VisionTransformer, got AlphaVisionTransformer" in done.stderr
