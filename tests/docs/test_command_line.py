"""docs/command-line.md names every command and every option of `classify`, and its examples show the real output."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from registry_core.cli import _parser, main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def examples():
    """Command line -> the lines below it."""
    found, lines = {}, None
    for line in TEXT.replace(" \\\n        ", " ").splitlines():
        if line.startswith("    $ registry-core "):
            found[line.removeprefix("    $ registry-core ")] = lines = []
        elif line.startswith("    ") and lines is not None:
            lines.append(line[4:])
        else:
            lines = None
    return found


def commands():
    (action,) = (action for action in _parser()._actions if isinstance(action.choices, dict))
    return action.choices


def test_every_command_is_named():
    assert not [name for name in commands() if f"`{name}" not in TEXT]


def test_every_option_of_classify_is_named():
    options = {name for name in commands()["classify"]._option_string_actions if name.startswith("--")}
    assert not [name for name in options if f"{name}" not in TEXT]


@pytest.mark.parametrize("command", [line for line, out in examples().items() if "..." not in "".join(out)])
def test_examples_are_what_is_printed(command, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    for name in ("REGISTRY_CORE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if "ViT-B-32.json" in command:
        shutil.copy(ROOT / "examples" / "first_model" / "tiny.json", tmp_path / "ViT-B-32.json")
        monkeypatch.chdir(tmp_path)
    main(shlex.split(command))
    captured = capsys.readouterr()
    printed = captured.err + captured.out if command.endswith(" -v") else captured.out + captured.err
    shown, expected = printed.replace(str(tmp_path), "/root").splitlines(), examples()[command]
    if "--random" in command:
        shown, expected = form(shown), form(expected)
    assert shown == expected


def form(lines):
    """What does not depend on random weights: keys, headers, and the number of words in each line."""
    if lines[0].startswith("{"):
        return [sorted(json.loads(line)) for line in lines]
    return [lines[0].split(), *(len(line.replace("garden gnome", "gnome").split()) for line in lines[1:])]
