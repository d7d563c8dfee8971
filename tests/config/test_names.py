from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core import UnknownModelError
from registry_core.config.names import ModelName


@pytest.mark.parametrize(
    ("given_name", "name", "plugin"),
    [
        ("ViT-B-32", "ViT-B-32", None),
        ("ViT-B/32", "ViT-B-32", None),
        ("daclip_ViT-L/14", "daclip_ViT-L-14", None),
        ("openai_clip::ViT-B-32", "ViT-B-32", "openai_clip"),
        ("openai_clip::ViT-B/32", "ViT-B-32", "openai_clip"),
        ("hf-hub:org/repo@main", "hf-hub:org/repo@main", None),
        ("local-dir:/some/where", "local-dir:/some/where", None),
        ("hub::hf-hub:org/repo", "hf-hub:org/repo", "hub"),
    ],
)
def test_a_name_is_split_into_its_parts(given_name, name, plugin):
    assert ModelName.parse(given_name) == ModelName(given_name, name, plugin)


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_name_is_refused(empty):
    with pytest.raises(UnknownModelError, match=r"non-empty string such as 'ViT-B-32', got .*list_models") as caught:
        ModelName.parse(empty)
    assert caught.value.found == empty


@given(st.text(alphabet=st.characters(exclude_characters="/:"), min_size=1).filter(str.strip))
def test_a_name_without_slash_and_colon_is_itself(name):
    assert ModelName.parse(name) == ModelName(name, name, None)


@given(st.text(min_size=1).filter(str.strip))
def test_parsing_a_parsed_name_changes_nothing(text):
    once = ModelName.parse(text).name
    if once.strip() and "::" not in once:
        assert ModelName.parse(once).name == once
