from __future__ import annotations

import copy
import inspect
import pickle
import re
import threading
from pathlib import Path

import pytest

from registry_core import errors
from registry_core.errors import (
    ConfigError,
    FetchError,
    InputError,
    LookupFailedError,
    PluginError,
    RegistryError,
    StateDictError,
    close_names,
    did_you_mean,
    listing,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RegistryError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_in_the_tree_of_the_docstring_under_its_parent(kind):
    drawn = {name: len(indent) for indent, name in re.findall(r"(?m)^([ |`-]*)(\w+(?:Error))\b", errors.__doc__)}
    assert kind.__name__ in drawn
    if kind is not RegistryError:
        assert drawn[kind.__bases__[0].__name__] < drawn[kind.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_messages_print_as_written(kind):
    assert str(kind("It is 'so'.\nAnd so.")) == "It is 'so'.\nAnd so."
    assert not issubclass(kind, KeyError)


COMMON = {"name": "n", "argument": "a", "path": Path("p"), "expected": (1,), "found": [2], "advice": "Correct it."}
OWN = {
    LookupFailedError: {"suggestions": ["ViT-B-32"]},
    ConfigError: {"problems": {"vision_cfg.width": "missing."}, "suggestions": ["width"]},
    PluginError: {"plugin": "acme", "hook": "list_models"},
    InputError: {"suggestions": ["fp16"]},
    FetchError: {"url": "https://x.invalid", "status": 404},
    StateDictError: {"missing": ["w"], "unexpected": ["v"], "misshaped": {"b": "[2] and [3]"}},
}


def test_another_error_can_be_the_message():
    assert str(FetchError(OSError("no route"), advice="Try again.")) == "no route Try again."
    assert str(FetchError(OSError("no route"))) == "no route"


class TestFacts:
    @pytest.mark.parametrize("kind", ALL)
    def test_are_attributes(self, kind):
        error = kind("It failed.", **COMMON)
        assert {fact: getattr(error, fact) for fact in COMMON} == COMMON

    @pytest.mark.parametrize("kind", ALL)
    def test_have_empty_defaults(self, kind):
        error = kind("It failed.")
        for fact in errors.ErrorFacts.__annotations__:
            assert not getattr(error, fact, None)

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
    @pytest.mark.parametrize(("kind", "own"), OWN.items())
    def test_survive_pickle_and_copy(self, kind, own, again):
        error = kind("It failed.", **COMMON, **own)
        twin = again(error)
        assert type(twin) is kind
        assert str(twin) == str(error) == "It failed. Correct it."
        assert vars(twin) == {**COMMON, **own}

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
    @pytest.mark.parametrize(
        "value", [threading.Lock(), lambda: 0, (each for each in ())], ids=["lock", "lambda", "generator"]
    )
    def test_that_cannot_be_pickled_become_their_repr(self, value, again):
        twin = again(InputError("It failed.", argument="labels", found=value))
        assert (str(twin), twin.argument, twin.found) == ("It failed.", "labels", repr(value))

    def test_that_are_the_empty_default_survive_pickle(self):
        error = ConfigError("It failed.", problems=ConfigError("Another.").problems)
        assert pickle.loads(pickle.dumps(error)).problems == {}

    def test_that_a_class_does_not_carry_are_a_type_error(self):
        with pytest.raises(TypeError, match="PluginError carries no fact 'missing'"):
            PluginError("It failed.", missing=["a"])
        with pytest.raises(TypeError, match="RegistryError carries no fact 'colour'"):
            RegistryError("It failed.", colour="red")

    def test_do_not_leak_into_other_errors(self):
        ConfigError("One.", name="one", problems={"a": "missing."})
        assert (ConfigError("Two.").name, dict(ConfigError("Two.").problems)) == (None, {})

    def test_advice_is_the_end_of_the_message(self):
        error = RegistryError("It failed.", advice="Try again.")
        assert str(error) == "It failed. Try again."
        assert error.advice == "Try again."
        assert str(RegistryError(advice="Try again.")) == "Try again."
        assert str(RegistryError("It failed.", advice="")) == "It failed."


def test_close_names_ignore_case_and_are_ordered_by_similarity():
    assert close_names("VIT-b-32", ["RN50", "ViT-B-16", "ViT-B-32"])[0] == "ViT-B-32"
    assert close_names("zzz", ["RN50"]) == []


def test_did_you_mean_is_empty_if_no_name_is_close():
    assert did_you_mean("widht", ["width", "layers"]) == " Did you mean width?"
    assert did_you_mean("zzz", ["width"]) == ""


def test_listing_counts_what_it_leaves_out():
    assert listing(["a", "b"]) == "a, b"
    assert listing("abcde", 3) == "a, b, c and 2 more"
    assert listing([]) == ""
