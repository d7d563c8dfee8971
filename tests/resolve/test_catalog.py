"""The models, tags and descriptions that exist."""

from __future__ import annotations

import json

import pytest

from registry_core import ConfigError, hookimpl


class TestLists:
    def test_are_sorted_without_regard_to_case_and_have_no_duplicates(self, registry):
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


class TestUserConfigs:
    def test_two_of_one_name_are_refused(self, registry, tmp_path, monkeypatch):
        path = tmp_path / "tiny.json"
        path.write_text(json.dumps({"embed_dim": 3, "vision_cfg": {}, "text_cfg": {}}))
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(path))
        with pytest.raises(
            ConfigError,
            match=r"^There are two configs named 'tiny': \(mapping\), added in this process, and .*tiny\.json, which "
            r"REGISTRY_CORE_CONFIG_PATH names\. None was chosen\. Rename one\.$",
        ) as caught:
            registry.config("tiny")
        assert (caught.value.name, caught.value.found) == ("tiny", ("(mapping)", str(path)))

    def test_the_same_config_twice_is_one(self, registry, tmp_path, monkeypatch):
        path = tmp_path / "tiny.json"
        path.write_text(json.dumps(registry.services.catalog.added["tiny"].raw))
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(path))
        assert registry.list_models("tiny") == ["tiny"]


def test_descriptions_of_several_plugins_are_joined(registry):
    class Describing:
        def __init__(self, text):
            self.text = text

        @hookimpl
        def describe_models(self):
            return {"notes": {"tiny": self.text, "ViT-B-32": ""}}

    registry.register(Describing("small"), "first")
    registry.register(Describing("fast"), "second")
    assert registry.services.catalog.descriptions()["notes"] == {"tiny": "small; fast", "ViT-B-32": ""}
