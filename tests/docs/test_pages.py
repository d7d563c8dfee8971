"""The pages: calls of the registry fit its methods, and the code of docs/training.md runs."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest
import torch

from registry_core import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)*^ {4}.*\n", re.MULTILINE)


def blocks(page):
    """The indented blocks of a page that are Python."""
    for match in INDENTED.finditer(page.read_text(encoding="utf-8")):
        code = textwrap.dedent(match[0])
        try:
            ast.parse(code)
        except SyntaxError:  # a command, or what one prints
            continue
        yield code


def calls(code):
    """(method, call) for each call of the registry."""
    for node in ast.walk(ast.parse(code)):
        of_registry = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if of_registry and isinstance(node.func.value, ast.Name) and node.func.value.id == "registry":
            yield node.func.attr, node


def test_calls_of_the_registry_fit_its_methods():
    found = [(page.name, method, call) for page in PAGES for code in blocks(page) for method, call in calls(code)]
    assert len(found) > 30
    for page, method, call in found:
        assert hasattr(Registry, method), f"{page}: registry.{method}"
        named = {keyword.arg: None for keyword in call.keywords if keyword.arg}
        try:
            inspect.signature(getattr(Registry, method)).bind(None, *call.args, **named)
        except TypeError as error:
            pytest.fail(f"{page}, {ast.unparse(call)}: {error}")


class Small:
    """The registry as a page asks it; whatever the name, the model is small."""

    def __init__(self, registry, name):
        self.registry, self.name = registry, name
        self.loss, self.tokenizer = registry.loss, registry.tokenizer

    def create(self, name, tag):  # noqa: ARG002 - as on the page
        return self.registry.create(self.name, pretrained=False)


@pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
def test_the_code_of_training_runs(registry, name, monkeypatch):
    pytest.importorskip("tiktoken")
    code = list(blocks(ROOT / "docs" / "training.md"))
    assert len(code) == 4
    config = registry.config("tiny")
    rows, length = (2 if name == "daclip_tiny" else 1), config.text_cfg.context_length
    teacher = registry.create("tiny", pretrained=False)
    teacher.output_dict = True
    names = {
        "torch": torch, "registry": Small(registry, name), "teacher": teacher, "rank": 0, "world_size": 1,
        "images": torch.rand(3, 3, *config.image_size), "texts": torch.randint(1, 50, (3, rows * length)),
        "tokenizer": registry.tokenizer("ViT-B-32"), "captions": ["a cat"], "degradations": ["hazy"],
    }  # fmt: skip
    for block in code:
        if "distill" in block and name != "tiny":
            continue
        exec(block, names)  # noqa: S102 - the page's own
    assert all(loss.isfinite() for loss in names["losses"].values())
    assert any(parameter.grad is not None for parameter in names["model"].parameters())
    assert names["tokens"].shape == (1, 154)
