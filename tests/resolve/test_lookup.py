"""Which plugin answers a name, a raw config or a tag; also for the derived models of DA-CLIP."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import pytest

from registry_core import (
    ConfigError,
    ConflictError,
    LocalFile,
    PluginError,
    Registry,
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

    def test_fall_back_to_a_path_if_no_tag_has_the_name(self, registry, tiny_checkpoint):
        found = registry.explain("daclip_tiny", str(tiny_checkpoint))
        assert found.weights == f"file {tiny_checkpoint}"
        assert found.answered.startswith("daclip (registry_core")
        assert found.places[0].path == str(tiny_checkpoint)
        model = registry.create("daclip_tiny", str(tiny_checkpoint))
        assert registry.report(model).path == Path(tiny_checkpoint)

    def test_that_are_neither_tag_nor_path_are_refused_with_the_bases_tags(self, registry):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("daclip_ViT-B-32", "openia")
        assert caught.value.name == "openia"
        assert caught.value.suggestions[0] == "openai"
        assert caught.value.expected == [tag for _, tag in registry.list_pretrained("ViT-B-32")]


class Tagger:
    """A plugin that provides a tag for a model that it does not own."""

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
    def test_is_a_conflict(self, two, model):
        with pytest.raises(ConflictError) as caught:
            two.explain(model, "mine")
        assert caught.value.name == "mine"
        assert caught.value.plugins == ["first ((registered))", "second ((registered))"]

    def test_the_message_says_how_to_choose(self, two):
        with pytest.raises(
            ConflictError,
            match=r"^The tag 'mine' of 'tiny' is answered more than once: by first .* and second .*\. None was "
            r"chosen\. Choose one with 'first::mine' or 'second::mine', or uninstall one\.$",
        ):
            two.explain("tiny", "mine")

    @pytest.mark.parametrize("model", ["tiny", "daclip_tiny"])
    @pytest.mark.parametrize("plugin", ["first", "second"])
    def test_is_chosen_by_the_plugins_name(self, two, model, plugin):
        assert two.explain(model, f"{plugin}::mine").places[0].path == f"{plugin}.pt"

    def test_of_a_plugin_that_does_not_provide_it_is_unknown(self, two):
        with pytest.raises(UnknownWeightsError) as caught:
            two.explain("tiny", "openai_clip::mine")
        assert caught.value.name == "openai_clip::mine"

    def test_of_a_qualified_model_is_that_plugins(self, two):
        resolved = two.services.resolve("tiny")
        chosen = dataclasses.replace(resolved, qualifier="second")
        (found,) = two.services._lookup.tag(chosen, "mine")
        assert found.plugin.name == "second"


class TestNamesOfADaClip:
    def test_the_old_spelling_is_the_same_model(self, registry):
        assert registry.config("daclip_ViT-B/32") == registry.config("daclip_ViT-B-32")
        assert registry.explain("daclip_ViT-B/32", "openai").name == "daclip_ViT-B-32"
        assert registry.list_pretrained("daclip_ViT-B/32") == registry.list_pretrained("daclip_ViT-B-32") != []

    @pytest.mark.parametrize("name", ["daclip_RN50", "daclip_tiny-rn"])
    def test_over_a_resnet_is_a_config_error(self, registry, name):
        with pytest.raises(ConfigError) as caught:
            registry.create(name, False)
        assert name in str(caught.value)
        assert name not in registry.list_models()

    def test_is_answered_by_daclip_alone(self, registry):
        assert registry.config("daclip::daclip_ViT-B-32").architecture == "daclip"
        with pytest.raises(UnknownModelError) as caught:
            registry.config("openai_clip::daclip_ViT-B-32")
        assert caught.value.name == "openai_clip::daclip_ViT-B-32"

    def test_over_an_unknown_base_is_unknown_with_the_close_names(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.config("daclip_ViT-B-33")
        assert caught.value.name == "daclip_ViT-B-33"
        assert "daclip_ViT-B-32" in caught.value.suggestions


class TestUnknownNames:
    def test_the_message_has_close_names_the_asked_plugins_and_advice(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.create("vit-b-23")
        error, message = caught.value, str(caught.value)
        assert message.startswith(f"There is no model 'vit-b-23'. Did you mean {', '.join(error.suggestions)}? Asked: ")
        assert "openai_clip (registry_core" in message
        assert message.endswith("adds a model of your own.")
        assert "registry.list_models()" in error.advice
        assert "registry.add_config" in error.advice
        assert "ViT-B-32" in error.suggestions
        assert error.__cause__ is None

    def test_a_qualifier_that_is_no_plugin(self, registry):
        with pytest.raises(UnknownModelError, match=r"There is no working plugin 'opnai'\.") as caught:
            registry.config("opnai::ViT-B-32")
        assert caught.value.name == "opnai::ViT-B-32"

    def test_a_scheme_that_no_plugin_knows(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.config("nowhere:org/repo")
        assert caught.value.name == "nowhere:org/repo"


class TestRawConfigs:
    RAW: ClassVar = {"architecture": "openai_clp", "embed_dim": 3}

    def test_that_no_plugin_claims_are_refused(self, registry):
        with pytest.raises(
            ConfigError,
            match=r"^No plugin claims the config of mine\.json: its architecture is 'openai_clp'\. Did you mean "
            r"openai_clip\? The plugins are: coca, .*\. No model was made from it\. Install the plugin",
        ) as caught:
            registry.services.claim(self.RAW, "mine.json")
        assert (caught.value.name, caught.value.found) == ("mine.json", "openai_clp")
        assert caught.value.suggestions == ["openai_clip"]
        assert set(caught.value.expected) >= {"openai_clip", "daclip"}

    def test_without_an_architecture_are_described_by_their_keys(self):
        with pytest.raises(ConfigError, match=r"its keys are width, depth\. The plugins are: none\.") as caught:
            Registry(plugins=[]).services.claim({"width": 1, "depth": 2}, "mine.json")
        assert caught.value.found == ["depth", "width"]

    def test_that_two_plugins_claim_are_a_conflict(self, registry):
        raw = registry.config("tiny").raw()

        class Greedy:
            @hookimpl
            def resolve_config(self, name, raw, registry):
                return None if raw is None else type(registry.config("ViT-B-32")).parse(raw, name)

        registry.register(Greedy(), "greedy")
        with pytest.raises(ConflictError, match=r"The config of mine\.json is .* Rename or uninstall one\.$") as caught:
            registry.services.claim(raw, "mine.json")
        assert {name.split()[0] for name in caught.value.plugins} == {"greedy", "openai_clip"}


def test_an_architecture_without_a_plugin_is_the_fault_of_the_config(registry):
    config = registry.config("tiny")
    orphan = type("OrphanConfig", (type(config),), {"architecture": "orphan", "__annotations__": {}})
    with pytest.raises(PluginError) as caught:
        registry.services.owner(orphan.parse({**config.raw(), "architecture": "orphan"}, "lost"))
    assert (caught.value.name, caught.value.plugin) == ("orphan", "orphan")
