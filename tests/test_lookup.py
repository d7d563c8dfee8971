"""Whose is the name, whose the tag: the routes that DA-CLIP's lookups take through the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_core import (
    ConfigError,
    ConflictError,
    LocalFile,
    UnknownModelError,
    UnknownWeightsError,
    Weights,
    hookimpl,
)


class TestTagsOfADaClip:
    def test_are_those_of_its_base(self, registry):
        found = registry.explain("daclip_ViT-B-32", "openai")
        base = registry.explain("ViT-B-32", "openai")
        assert found.places == base.places
        assert found.config.quick_gelu is base.config.quick_gelu is True
        assert found.answered.startswith("daclip (registry_core")
        assert found.base == "ViT-B-32"

    def test_fall_back_to_the_local_path_where_the_lookup_is_empty(self, registry, tiny_checkpoint):
        found = registry.explain("daclip_tiny", str(tiny_checkpoint))
        assert found.weights == f"file {tiny_checkpoint}"
        assert found.answered.startswith("daclip (registry_core")
        assert found.places[0].path == str(tiny_checkpoint)
        model = registry.create("daclip_tiny", str(tiny_checkpoint))
        assert registry.report(model).path == Path(tiny_checkpoint)

    def test_that_are_neither_tag_nor_path_are_refused_with_the_bases_tags(self, registry):
        with pytest.raises(UnknownWeightsError, match=r"daclip_ViT-B-32 has no weights 'openia'.*Did you mean openai"):
            registry.create("daclip_ViT-B-32", "openia")


class Tagger:
    """A plugin that brings one tag to a model that it does not own."""

    def __init__(self, path):
        self.path = path

    @hookimpl
    def list_pretrained(self):
        return [("tiny", "mine")]

    @hookimpl
    def resolve_pretrained(self, name, tag):
        return Weights((LocalFile(self.path),), tag) if (name, tag) == ("tiny", "mine") else None


class TestATagOfTwoPlugins:
    @pytest.fixture
    def two(self, registry):
        registry.register(Tagger(Path("first.pt")), "first")
        registry.register(Tagger(Path("second.pt")), "second")
        return registry

    @pytest.mark.parametrize("model", ["tiny", "daclip_tiny"])
    def test_is_a_conflict_that_says_how_to_choose(self, two, model):
        with pytest.raises(
            ConflictError, match=r"tag 'mine' of 'tiny' .*Say which is meant by 'first::mine' or 'second"
        ):
            two.explain(model, "mine")

    @pytest.mark.parametrize("model", ["tiny", "daclip_tiny"])
    @pytest.mark.parametrize("plugin", ["first", "second"])
    def test_is_chosen_by_the_plugins_name(self, two, model, plugin):
        assert two.explain(model, f"{plugin}::mine").places[0].path == f"{plugin}.pt"

    def test_of_a_plugin_that_does_not_bring_it_is_unknown(self, two):
        with pytest.raises(UnknownWeightsError, match="tiny has no weights 'openai_clip::mine'"):
            two.explain("tiny", "openai_clip::mine")


class TestTagsOfOneModel:
    def test_of_a_mistyped_name_are_an_error_and_not_none(self, registry):
        with pytest.raises(UnknownModelError, match="Did you mean ViT-B-32"):
            registry.list_pretrained("ViT-B-33")

    def test_of_a_model_without_any_are_an_empty_list(self, registry):
        assert registry.list_pretrained("tiny") == []


class TestNamesOfADaClip:
    def test_the_old_spelling_is_the_same_model(self, registry):
        assert registry.config("daclip_ViT-B/32") == registry.config("daclip_ViT-B-32")
        assert registry.explain("daclip_ViT-B/32", "openai").name == "daclip_ViT-B-32"
        assert registry.list_pretrained("daclip_ViT-B/32") == registry.list_pretrained("daclip_ViT-B-32") != []

    def test_over_a_resnet_the_message_says_why(self, registry):
        for name in ("daclip_RN50", "daclip_tiny-rn"):
            with pytest.raises(
                ConfigError, match=rf"{name} cannot be: .*native ViT image.*Nothing was built.*daclip_\*"
            ):
                registry.create(name, False)
            assert name not in registry.list_models()

    def test_is_answered_by_daclip_alone(self, registry):
        assert registry.config("daclip::daclip_ViT-B-32").architecture == "daclip"
        with pytest.raises(UnknownModelError, match="There is no model 'openai_clip::daclip_ViT-B-32'"):
            registry.config("openai_clip::daclip_ViT-B-32")

    def test_over_an_unknown_base_is_unknown_with_the_close_names(self, registry):
        with pytest.raises(UnknownModelError, match=r"'daclip_ViT-B-33'\. Did you mean daclip_ViT-B-32"):
            registry.config("daclip_ViT-B-33")


class TestUnknownNames:
    def test_list_the_close_ones_who_was_asked_and_what_to_do(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.create("vit-b-23")
        message = str(caught.value)
        for words in ("There is no model 'vit-b-23'", "Did you mean", "ViT-B-32", "openai_clip (registry_core",
                      "registry.list_models()", "registry.add_config"):  # fmt: skip
            assert words in message
        assert caught.value.__cause__ is None

    def test_a_qualifier_that_is_no_plugin(self, registry):
        with pytest.raises(UnknownModelError, match="There is no working plugin 'opnai'"):
            registry.config("opnai::ViT-B-32")

    def test_of_a_scheme_that_nobody_knows(self, registry):
        with pytest.raises(UnknownModelError, match="There is no model 'nowhere:org/repo'"):
            registry.config("nowhere:org/repo")


class TestLists:
    def test_are_sorted_without_regard_to_case_and_have_no_doubles(self, registry):
        names = registry.list_models()
        assert names == sorted(set(names), key=str.casefold)
        pairs = registry.list_pretrained()
        assert len(pairs) == len(set(pairs)) > 0
        assert {model for model, _ in pairs} <= set(names)

    def test_patterns_ignore_case(self, registry):
        assert registry.list_models("VIT-b-32") == ["ViT-B-32"]
        assert set(registry.list_models("daclip_*")) < set(registry.list_models())
        assert registry.list_models("nothing-like-it*") == []

    def test_every_listed_tag_resolves_without_a_conflict(self, registry):
        for model, tag in registry.list_pretrained("ViT-B-32"):
            assert registry.explain(model, tag).weights == f"tag {tag!r}"
