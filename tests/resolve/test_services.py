"""What plugins can ask of a registry: classes by name, the tags of a model, the base of a derived model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from registry_core import ConflictError, PluginError, Registry, UnknownModelError, hookimpl


def plugin(name, location):
    """A plugin that provides a public class."""

    @hookimpl
    def public_classes():
        return {name: location}

    return SimpleNamespace(public_classes=public_classes)


class TestPublicClasses:
    def test_are_listed_with_their_locations_and_found(self, registry):
        offered = registry.services._lookup.public_classes()
        assert offered["CoCaLoss"] == "registry_plugins.coca.loss:CoCaLoss"
        assert registry.services.public_class("DaCLIP").__module__ == "registry_plugins.daclip.model"
        assert registry.services.public_class("NoSuchClass") is None

    @pytest.mark.parametrize("name", ["CLIP", "CustomTextCLIP", "CoCa", "CoCaLoss", "DaCLIP", "DaClipLoss"])
    def test_shipped_plugins_provide_theirs(self, registry, name):
        assert registry.services.public_class(name).__name__ == name

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("no_such_module:Thing", r"cannot be imported: ModuleNotFoundError: .*\. Correct the answer to the hook"),
            ("json:NoSuchClass", r"cannot be imported: AttributeError: .*\. Correct the answer to the hook"),
            ("json:dumps", r"is a function, expected a class\.$"),
        ],
    )
    def test_that_cannot_be_used_are_the_fault_of_the_plugin(self, location, words):
        registry = Registry(plugins=[plugin("Thing", location)])
        with pytest.raises(PluginError, match=rf"^The public class 'Thing'.* '{location}'.*{words}") as caught:
            registry.services.public_class("Thing")
        assert (caught.value.name, caught.value.hook) == ("Thing", "public_classes")

    def test_two_of_one_name_are_a_conflict(self):
        registry = Registry(plugins=[plugin("Thing", "json:JSONEncoder")])
        registry.register(plugin("Thing", "json:JSONDecoder"), "another")
        with pytest.raises(ConflictError, match=r"^The public class 'Thing' is answered more than once") as caught:
            registry.services.public_class("Thing")
        assert len(caught.value.plugins) == 2


class TestTagsOfOneModel:
    def test_of_a_mistyped_name_are_an_error(self, registry):
        with pytest.raises(UnknownModelError) as caught:
            registry.list_pretrained("ViT-B-33")
        assert "ViT-B-32" in caught.value.suggestions

    def test_of_a_model_without_any_are_an_empty_list(self, registry):
        assert registry.list_pretrained("tiny") == []


class TestBaseOf:
    def test_is_the_model_behind_the_prefix(self, registry):
        assert registry.services.base_of("daclip_tiny", "daclip_").name == "tiny"

    @pytest.mark.parametrize("name", ["tiny", "daclip_no-such-model"])
    def test_is_none_without_the_prefix_or_the_base(self, registry, name):
        assert registry.services.base_of(name, "daclip_") is None
