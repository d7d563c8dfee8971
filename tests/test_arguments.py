"""Arguments of a wrong type are refused by name, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_core import OverrideError
from registry_core.arguments import folder_of, path_of, text_of

CONFIG = {"embed_dim": 8}


class TestPathOf:
    def test_text_and_paths_are_paths_with_the_users_folder(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/somebody")
        monkeypatch.setenv("USERPROFILE", "/home/somebody")
        assert path_of("to", "~/a") == path_of("to", Path("~/a")) == Path("/home/somebody/a")

    @pytest.mark.parametrize("given", [None, 5, True, b"bytes", ["a"], {}])
    def test_anything_else_is_refused_by_the_arguments_name(self, given):
        with pytest.raises(OverrideError) as caught:
            path_of("to", given)
        assert str(caught.value) == (
            f"to={given!r}: expected a path, as text or as pathlib.Path, got {type(given).__name__}. Nothing was done; "
            "correct it."
        )

    @pytest.mark.parametrize(
        ("given", "reason"),
        [("~nobody-of-this-name/x", "Could not determine home directory"), ("a\0b", "it holds a null character")],
    )
    def test_what_the_system_knows_no_path_for_is_refused(self, given, reason):
        with pytest.raises(OverrideError) as caught:
            path_of("to", given)
        said = f"to={given!r} is no path that this system knows: {reason}. Nothing was done; correct it."
        assert str(caught.value) == said

    def test_an_empty_text_is_no_path(self):
        with pytest.raises(
            OverrideError, match=r"^to='': expected a path, as text or as pathlib\.Path, got an empty text"
        ):
            path_of("to", "")

    def test_a_long_value_is_shortened(self):
        with pytest.raises(OverrideError, match=r"to=\[0, 1, 2.{20,60}: expected"):
            path_of("to", list(range(1000)))


class TestFolderOf:
    def test_nothing_means_the_usual_folder(self):
        assert folder_of("cache_dir", None) is folder_of("cache_dir", "") is None
        assert folder_of("cache_dir", "a") == Path("a")

    def test_anything_else_is_refused(self):
        with pytest.raises(OverrideError, match=r"^cache_dir=5: expected a path, "):
            folder_of("cache_dir", 5)


class TestTextOf:
    def test_text_is_text(self):
        assert text_of("name", "a") == "a"

    def test_anything_else_is_refused(self):
        with pytest.raises(OverrideError, match=r"^name=5: expected a text, got int\. Nothing was done; correct it\.$"):
            text_of("name", 5)


def test_a_wrong_folder_of_the_environment_is_named_by_its_variable(registry, monkeypatch):
    monkeypatch.setenv("REGISTRY_CORE_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(OverrideError, match=r"^REGISTRY_CORE_CACHE='~nobody-of-that-name/cache' is no path"):
        registry.explain("ViT-B-32", "openai")


WRONG = {
    "cache_dir of create": ("cache_dir=5", lambda registry, _: registry.create("tiny", False, cache_dir=5)),
    "image_weights": ("image_weights=5", lambda registry, _: registry.create("tiny", False, image_weights=5)),
    "text_weights": ("text_weights=5", lambda registry, _: registry.create("tiny", False, text_weights=5)),
    "tower": (r"tower=\['image'\]", lambda registry, _: registry.create("tiny", False, tower=["image"])),
    "cache_dir of download": ("cache_dir=5", lambda registry, _: registry.download("tiny", "tag", 5)),
    "to": ("to=5", lambda registry, _: registry.download("tiny", "tag", to=5)),
    "cache_dir of tokenizer": ("cache_dir=5", lambda registry, _: registry.tokenizer("tiny", cache_dir=5)),
    "source": ("source=5", lambda registry, _: registry.add_config(5)),
    "swapped": (r"name=\{'embed_dim': 8\}", lambda registry, _: registry.add_config("mine", CONFIG)),
    "pattern": ("pattern=None", lambda registry, _: registry.list_models(None)),
    "path of load": ("path=5", lambda registry, model: registry.load(model, 5)),
    "no folder": ("folder=''", lambda registry, model: registry.save(model, "")),
    "folder": ("folder=5", lambda registry, model: registry.save(model, 5)),
    "repo": ("repo=5", lambda registry, model: registry.push(model, 5)),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_call_names_the_argument(registry, which):
    named, call = WRONG[which]
    with pytest.raises(OverrideError, match=f"^{named}: expected "):
        call(registry, registry.create("tiny", False))
