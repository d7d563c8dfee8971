"""The shape of the source: few files at the root, no import circles, short files and functions, few ignored types."""

from __future__ import annotations

import ast
import re
import statistics
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"registry_core": ROOT / "registry_core", "registry_plugins": ROOT / "plugins"}
FILES = {path: name for name, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))}

# The modules that a plugin may import; docs/plugin-api.md describes them.
PLUGIN_API = {
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


def module_name(path):
    package = FILES[path]
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join((package, *(part for part in parts if part != "__init__")))


MODULES = {module_name(path): path for path in FILES}


def imported(path):
    """The project's modules that a file imports, anywhere in it; imports for types count."""
    own = module_name(path).split(".")
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            submodules = [f"{source}.{alias.name}" for alias in node.names]
            found = [name for name in submodules if name in MODULES]
            yield from found
            if len(found) < len(submodules) and source in MODULES:
                yield source


def circles(graph):
    """Strongly connected components of more than one module, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_there_is_no_import_circle():
    graph = {name: sorted({*imported(path)} - {name}) for name, path in MODULES.items()}
    assert circles(graph) == []


def test_no_module_imports_the_package_that_holds_it():
    """A module below the root takes names from where they are defined, not from the package that exports them."""
    users = {"registry_core.cli", "registry_core.compat", "registry_core.testing", "registry_core.scaffold"}
    for name, path in MODULES.items():
        if name.startswith("registry_core.") and not any(name.startswith(user) for user in users):
            above = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
            assert not above & set(imported(path)), name


def test_few_files_at_the_root():
    assert len([path for path in (ROOT / "registry_core").iterdir() if path.suffix == ".py"]) <= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_functions_are_short():
    """Nine of ten functions have at most 20 lines, docstrings not counted."""
    lengths = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node, clean=False) is not None
                first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
                lengths.append(node.body[-1].end_lineno - first.lineno + 1)
    assert statistics.quantiles(lengths, n=10)[-1] <= 20


def test_few_types_are_ignored_and_each_has_a_reason():
    found = [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "type: ignore" in line
    ]
    assert len(found) <= 15
    unexplained = [place for place, line in found if not re.search(r"type: ignore\[[^]]+\] +# .*[a-z]{3}", line)]
    assert unexplained == []


def sources_of_plugins():
    yield from sorted((ROOT / "plugins").rglob("*.py"))
    yield from sorted((ROOT / "examples").rglob("*.py"))
    yield from sorted((ROOT / "registry_core" / "scaffold" / "template").rglob("*.py.tmpl"))


@pytest.mark.parametrize("path", list(sources_of_plugins()), ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_the_plugin_api_and_nothing_else(path):
    found = re.findall(r"^\s*(?:from|import) (registry_core[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(found) <= PLUGIN_API


@pytest.mark.parametrize("name", sorted(PLUGIN_API))
def test_the_plugin_api_is_documented(name):
    text = (ROOT / "docs" / "plugin-api.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text


def test_no_folder_of_tests_is_skipped(pytestconfig):
    """pytest skips folders by name without a word, and one of its own names is that of a room: build."""
    skipped = pytestconfig.getini("norecursedirs")
    tests = Path(__file__).parent
    folders = {part for path in tests.rglob("test_*.py") for part in path.relative_to(tests).parts[:-1]}
    assert {folder for folder in folders if any(fnmatch(folder, pattern) for pattern in skipped)} == set()
