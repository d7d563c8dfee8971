"""Where the state dict is found in a saved object, and which prefixes its names lose."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from registry_core import CheckpointError, StateDictError


def renamed(state, rename):
    return OrderedDict((rename(name), tensor) for name, tensor in state.items())


def in_the_middle(name):
    """A part of the model was compiled: the names of that part follow the prefix of the wrapper."""
    first, dot, rest = name.partition(".")
    return f"{first}._orig_mod.{rest}" if dot else name


class TestWrappersAreStripped:
    @pytest.mark.parametrize(
        ("rename", "notes"),
        [
            (lambda name: f"module.{name}", ["`module.` stripped"]),
            (lambda name: f"_orig_mod.{name}", ["`_orig_mod.` stripped"]),
            (in_the_middle, ["`_orig_mod.` stripped"]),
            (lambda name: f"module._orig_mod.{name}", ["`_orig_mod.` stripped", "`module.` stripped"]),
            (lambda name: f"_orig_mod.module.{name}", ["`_orig_mod.` stripped", "`module.` stripped"]),
            (lambda name: f"module.{in_the_middle(name)}", ["`_orig_mod.` stripped", "`module.` stripped"]),
        ],
        ids=["module", "first", "middle", "module first", "module second", "module and middle"],
    )
    def test_and_named_in_the_report(self, small, state, save, assert_holds, rename, notes):  # noqa: PLR0917 - fixtures
        model = small.create("small", save(renamed(state, rename)))
        assert_holds(model)
        assert small.report(model).notes[: len(notes)] == notes

    def test_the_state_dict_of_a_compiled_model(self, small, source, save, assert_holds):
        compiled = torch.compile(source, backend="eager")  # only wraps the model; the first call would compile it
        assert all(name.startswith("_orig_mod.") for name in compiled.state_dict())
        assert_holds(small.create("small", save(compiled.state_dict())))

    def test_both_spellings_of_a_name_are_refused(self, small, state, save):
        state["_orig_mod.logit_scale"] = state["logit_scale"]
        with pytest.raises(
            CheckpointError,
            match=r"names some parameters twice, with and without a `module\.` or `_orig_mod\.` prefix, such as "
            r"logit_scale and _orig_mod\.logit_scale\. It is not clear which of the two is meant\. Nothing was loaded",
        ) as caught:
            small.create("small", save(state))
        assert caught.value.name == "logit_scale"

    def test_a_module_of_that_name_is_not_a_prefix(self, small, state, save):
        """Other names lack the prefix, so the name that has it belongs to a module called `module`."""
        state["module.extra"] = torch.zeros(1)
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state))
        assert caught.value.unexpected == ["module.extra"]

    def test_a_name_that_is_nothing_but_a_prefix(self, small, save):
        path = save({"_orig_mod": torch.zeros(2)})
        with pytest.raises(StateDictError) as caught:
            small.create("small", path)
        assert (caught.value.path, caught.value.name, caught.value.unexpected) == (path, "small", [""])


class TestContainers:
    @pytest.mark.parametrize("path", [["state_dict"], ["model_state_dict"], ["model"], ["module"], ["model", "module"]])
    def test_are_opened_and_named(self, small, state, save, assert_holds, path):
        contents = state
        for key in reversed(path):
            contents = {"epoch": 1, key: contents, "lr": [0.1, torch.ones(2)]}
        model = small.create("small", save(contents))
        assert_holds(model)
        assert small.report(model).notes[: len(path)] == [f"found under {key!r}" for key in path]

    def test_the_state_of_the_optimiser_is_ignored(self, small, write, assert_holds):
        model = small.create("small", write("training"))
        assert_holds(model)
        assert small.report(model).unexpected == []

    def test_numbers_and_strings_among_the_tensors_are_skipped(self, small, state, save, assert_holds):
        model = small.create("small", save({**state, "epoch": 3, "arch": "ViT"}))
        assert_holds(model)
        assert "entries that are not tensors were skipped: epoch, arch" in small.report(model).notes

    @pytest.mark.parametrize(
        ("contents", "found"),
        [
            ({"epoch": 3, "loss": 0.5}, "epoch, loss"),
            ({}, "nothing"),
            ([torch.ones(2)], "list"),
            (torch.ones(2), "LazyTensor"),
            ({"state_dict": {"epoch": 3}}, "state_dict"),
            ("text", "str"),
        ],
        ids=["numbers", "empty", "list", "tensor", "nested numbers", "text"],
    )
    @pytest.mark.parametrize("zipped", [True, False])
    def test_without_a_state_dict(self, small, save, contents, found, zipped):
        path = save(contents, _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            CheckpointError,
            match=rf"holds no state dict\. Expected names with tensors, directly or under one of state_dict, "
            rf"model_state_dict, model, module; found: {found}\. Nothing was loaded",
        ) as caught:
            small.create("small", path)
        assert caught.value.path == path
