"""`--verbose`: what is logged to standard error."""

from __future__ import annotations

import logging

import pytest

from registry_core.cli import _parser, main

LOGGER = logging.getLogger("registry_core")


@pytest.fixture
def logged(capsys, tiny_config):
    """logged("show", "-v") -> the lines on standard error of a command that knows `tiny`."""

    def logged(*arguments):
        assert main(["--config", str(tiny_config), *arguments]) == 0
        return capsys.readouterr().err.splitlines()

    return logged


def parsers(parser):
    """A parser and the parsers of its commands, at all levels."""
    yield parser
    for action in parser._actions:
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from parsers(inner)


def test_every_command_and_action_has_the_common_options():
    found = list(parsers(_parser()))
    assert {"registry-core list", "registry-core cache verify", "registry-core"} <= {parser.prog for parser in found}
    for option in ("--config", "--verbose", "-v"):
        assert not [parser.prog for parser in found if option not in parser._option_string_actions]


def test_nothing_is_logged_without_it(logged):
    assert logged("create", "daclip_tiny", "--random") == []


def test_v_logs_which_plugins_answered_and_what_was_built(logged):
    lines = logged("create", "daclip_tiny", "--random", "-v")
    assert all(line.startswith("INFO registry_core.") for line in lines)
    text = "\n".join(lines)
    assert "model 'tiny': answered by openai_clip (registry_core" in text
    assert "model 'daclip_tiny': answered by daclip (registry_core" in text
    assert "created daclip_tiny: random values" in text


def test_v_logs_which_plugin_answered_a_tag(logged):
    assert "INFO registry_core.resolve.pretrained: weights of 'ViT-B-32': tag 'openai', answered by openai_clip" in (
        "\n".join(logged("explain", "ViT-B-32", "--pretrained", "openai", "-v"))
    )


def test_v_logs_that_a_path_is_no_plugins(logged, tiny_config):
    lines = logged("explain", "tiny", "--pretrained", str(tiny_config), "-v")
    assert any(f"file {tiny_config}, answered by no plugin: the path exists" in line for line in lines)


def test_vv_logs_more(logged):
    lines = logged("show", "tiny", "-vv")
    assert any(line.startswith("DEBUG registry_core.hooks.host: plugins: ") for line in lines)
    assert any(line.startswith("INFO ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (["-v", "show", "tiny"], "INFO"),
        (["show", "tiny", "--verbose"], "INFO"),
        (["-v", "show", "tiny", "-v"], "DEBUG"),
        (["show", "-vvv", "tiny"], "DEBUG"),
        (["-v", "cache", "-v", "list"], "DEBUG"),
        (["cache", "list", "-vv"], "DEBUG"),
    ],
)
def test_it_may_be_given_before_and_after_the_command(monkeypatch, logged, arguments, level):
    levels = []
    monkeypatch.setattr(LOGGER, "setLevel", levels.append)
    logged(*arguments)
    assert logging.getLevelName(levels[0]) == level


def test_the_logger_is_restored(logged):
    before = LOGGER.level, list(LOGGER.handlers)
    logged("show", "tiny", "-vv")
    assert (LOGGER.level, LOGGER.handlers) == before
    assert logged("show", "tiny") == []


def test_the_logger_is_restored_after_an_error(capsys):
    before = LOGGER.level, list(LOGGER.handlers)
    assert main(["show", "no-such", "-v"]) == 1
    assert (LOGGER.level, LOGGER.handlers) == before
    assert capsys.readouterr().out == ""
