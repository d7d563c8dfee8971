from __future__ import annotations

import inspect
import re

import pytest

from registry_core import errors
from registry_core.errors import RegistryError, close_names, did_you_mean, listing

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RegistryError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_drawn_in_the_tree_under_its_parent(kind):
    drawn = {name: len(indent) for indent, name in re.findall(r"(?m)^([ |`-]*)(\w+(?:Error))\b", errors.__doc__)}
    assert kind.__name__ in drawn
    if kind is not RegistryError:
        assert drawn[kind.__bases__[0].__name__] < drawn[kind.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_messages_print_as_written(kind):
    assert str(kind("It is 'so'.\nAnd so.")) == "It is 'so'.\nAnd so."
    assert not issubclass(kind, KeyError)


def test_close_names_ignore_case_and_come_best_first():
    assert close_names("VIT-b-32", ["RN50", "ViT-B-16", "ViT-B-32"])[0] == "ViT-B-32"
    assert close_names("zzz", ["RN50"]) == []


def test_did_you_mean_says_nothing_where_nothing_is_close():
    assert did_you_mean("widht", ["width", "layers"]) == " Did you mean width?"
    assert did_you_mean("zzz", ["width"]) == ""


def test_listing_counts_what_it_leaves_out():
    assert listing(["a", "b"]) == "a, b"
    assert listing("abcde", 3) == "a, b, c and 2 more"
    assert listing([]) == ""
