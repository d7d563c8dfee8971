"""Arguments of a wrong type are refused by name, before anything is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from registry_core import OverrideError
from registry_core.arguments import folder_of, path_of, text_of, whole_number

CONFIG = {"embed_dim": 8}


class TestPathOf:
    def test_strings_and_paths_are_paths_with_the_users_folder(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/somebody")
        monkeypatch.setenv("USERPROFILE", "/home/somebody")
        assert path_of("to", "~/a") == path_of("to", Path("~/a")) == Path("/home/somebody/a")

    @pytest.mark.parametrize("given", [None, 5, True, b"bytes", ["a"], {}])
    def test_anything_else_is_refused_under_the_name_of_the_argument(self, given):
        with pytest.raises(OverrideError) as caught:
            path_of("to", given)
        assert (caught.value.argument, caught.value.found) == ("to", given)
        assert caught.value.expected == "a path, as a string or pathlib.Path"
        assert f"got {type(given).__name__}" in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "reason"),
        [("~nobody-of-this-name/x", "Could not determine home directory"), ("a\0b", "it contains a null character")],
    )
    def test_what_is_not_a_path_on_this_system_is_refused(self, given, reason):
        with pytest.raises(OverrideError) as caught:
            path_of("to", given)
        assert str(caught.value) == (
            f"to={given!r} is not a path on this system: {reason}. Nothing was done. Correct it."
        )
        assert (caught.value.argument, caught.value.found) == ("to", given)

    def test_an_empty_string_is_not_a_path(self):
        with pytest.raises(OverrideError, match="got an empty string") as caught:
            path_of("to", "")
        assert (caught.value.argument, caught.value.found) == ("to", "")

    def test_a_long_value_is_shortened(self):
        with pytest.raises(OverrideError, match=r"to=\[0, 1, 2.{20,60}: expected"):
            path_of("to", list(range(1000)))


class TestFolderOf:
    def test_none_and_an_empty_string_mean_the_usual_folder(self):
        assert folder_of("cache_dir", None) is folder_of("cache_dir", "") is None
        assert folder_of("cache_dir", "a") == Path("a")

    def test_anything_else_is_refused(self):
        with pytest.raises(OverrideError) as caught:
            folder_of("cache_dir", 5)
        assert (caught.value.argument, caught.value.found) == ("cache_dir", 5)


class TestTextOf:
    def test_a_string_is_returned(self):
        assert text_of("name", "a") == "a"

    def test_anything_else_is_refused(self):
        with pytest.raises(
            OverrideError, match=r"^name=5: expected a string, got int\. Nothing was done\. Correct it\.$"
        ) as caught:
            text_of("name", 5)
        assert (caught.value.argument, caught.value.expected, caught.value.found) == ("name", "a string", 5)


class TestWholeNumber:
    @pytest.mark.parametrize("given", [3, np.int64(3), np.array(3), torch.tensor(3)])
    def test_whole_numbers_of_every_library_are_ints(self, given):
        assert type(whole_number(given)) is int
        assert whole_number(given) == 3

    @pytest.mark.parametrize(
        "given",
        [True, np.bool_(True), torch.tensor(True), 3.0, torch.tensor(3.0), np.array([3]), torch.tensor([3]), "3", None],
    )
    def test_anything_else_is_none(self, given):
        assert whole_number(given) is None


def test_a_wrong_folder_in_the_environment_is_named_by_its_variable(registry, monkeypatch):
    monkeypatch.setenv("REGISTRY_CORE_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(OverrideError) as caught:
        registry.explain("ViT-B-32", "openai")
    assert (caught.value.argument, caught.value.found) == ("REGISTRY_CORE_CACHE", "~nobody-of-that-name/cache")


# what is wrong -> the argument, its value, the call
WRONG = {
    "cache_dir of create": ("cache_dir", 5, lambda registry, _: registry.create("tiny", False, cache_dir=5)),
    "image_weights": ("image_weights", 5, lambda registry, _: registry.create("tiny", False, image_weights=5)),
    "text_weights": ("text_weights", 5, lambda registry, _: registry.create("tiny", False, text_weights=5)),
    "tower": ("tower", ["image"], lambda registry, _: registry.create("tiny", False, tower=["image"])),
    "cache_dir of download": ("cache_dir", 5, lambda registry, _: registry.download("tiny", "tag", 5)),
    "to": ("to", 5, lambda registry, _: registry.download("tiny", "tag", to=5)),
    "cache_dir of tokenizer": ("cache_dir", 5, lambda registry, _: registry.tokenizer("tiny", cache_dir=5)),
    "source": ("source", 5, lambda registry, _: registry.add_config(5)),
    "swapped": ("name", CONFIG, lambda registry, _: registry.add_config("mine", CONFIG)),
    "pattern": ("pattern", None, lambda registry, _: registry.list_models(None)),
    "path of load": ("path", 5, lambda registry, model: registry.load(model, 5)),
    "no folder": ("folder", "", lambda registry, model: registry.save(model, "")),
    "folder": ("folder", 5, lambda registry, model: registry.save(model, 5)),
    "repo": ("repo", 5, lambda registry, model: registry.push(model, 5)),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_call_names_the_argument(registry, which):
    argument, value, call = WRONG[which]
    with pytest.raises(OverrideError) as caught:
        call(registry, registry.create("tiny", False))
    assert (caught.value.argument, caught.value.found) == (argument, value)
    assert caught.value.expected
