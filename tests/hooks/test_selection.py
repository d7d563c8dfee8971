"""The plugins of an isolated registry, and the choice between two plugins that share a name or an answer.

tests/thirdparty/test_selection.py tests the patterns of REGISTRY_CORE_PLUGINS and Registry(plugins=[...]).
"""

from __future__ import annotations

from importlib.metadata import version

import pytest

from registry_core import ConflictError, Registry, UnknownModelError

OPENAI_CLIP = f"openai_clip (registry_core {version('registry_core')})"


class TestIsolatedRegistry:
    def test_has_the_given_plugins_and_no_others(self, install, plugin, acme_models):
        install("acme", {"models": acme_models})
        registry = Registry(plugins=[plugin(list_models=lambda: {"only": {}})])
        assert [p.name for p in registry.plugins()] == ["extra"]
        assert registry.list_models() == ["only"]

    def test_may_have_no_plugin(self):
        registry = Registry(plugins=[])
        assert registry.list_models() == []
        with pytest.raises(UnknownModelError, match="Asked: no plugin"):
            registry.config("ViT-B-32")

    def test_shares_nothing_with_another(self, registry, plugin):
        registry.register(plugin(list_models=lambda: {"extra": {}}))
        assert "extra" not in Registry().list_models()
        assert "tiny" not in Registry().list_models()


class TestTheSameEntryPointNameTwice:
    def test_the_second_is_reported_and_the_first_works(self, install, acme_models):
        install("aaa", {"twice": acme_models})
        install("bbb", {"twice": acme_models})
        registry = Registry()
        first, second = [p for p in registry.plugins() if p.name == "twice"]
        assert (first.distribution, first.error, first.active) == ("aaa", None, True)
        assert (second.distribution, second.active) == ("bbb", False)
        assert (second.error.name, second.error.plugin, second.error.found) == ("twice", "twice", "twice (aaa 1.2.3)")
        assert str(second.error).startswith("Plugin twice (bbb 1.2.3) was not loaded")
        assert registry.config("acme-vit").embed_dim == 16

    def test_a_shipped_name_is_not_taken_over(self, install):
        install("squatter", {"openai_clip": "@hookimpl\ndef list_models(): return {'mine': {}}"})
        registry = Registry()
        found = [(p.distribution, p.active) for p in registry.plugins() if p.name == "openai_clip"]
        assert found == [("registry_core", True), ("squatter", False)]
        assert "mine" not in registry.list_models()


class TestAModelNameTwice:
    SOURCE = """
RAW = {"embed_dim": 7, "vision_cfg": {"layers": 1}, "text_cfg": {"layers": 1}}
@hookimpl
def list_models(): return {"ViT-B-32": RAW}
@hookimpl
def resolve_config(name, raw, registry):
    return registry.services.claim(RAW, name).config if raw is None and name == "ViT-B-32" else None
"""

    @pytest.fixture
    def conflicting(self, install):
        install("rival", {"claimant": self.SOURCE})
        return Registry()

    def test_is_a_conflict_of_both_plugins(self, conflicting):
        with pytest.raises(ConflictError) as caught:
            conflicting.config("ViT-B-32")
        assert caught.value.name == "ViT-B-32"
        assert caught.value.plugins == [OPENAI_CLIP, "claimant (rival 1.2.3)"]

    def test_names_the_plugins_the_module_and_what_to_do(self, conflicting):
        with pytest.raises(
            ConflictError,
            match=r"'ViT-B-32' is answered more than once: by openai_clip .*claimant \(rival 1\.2\.3\) in "
            r"rival_claimant\. None was chosen\. Choose one with 'openai_clip::ViT-B-32' or 'claimant::ViT-B-32'",
        ):
            conflicting.config("ViT-B-32")

    def test_is_resolved_by_qualifying_the_name(self, conflicting):
        assert conflicting.config("claimant::ViT-B-32").embed_dim == 7
        assert conflicting.config("openai_clip::ViT-B-32").embed_dim == 512
        assert conflicting.explain("claimant::ViT-B-32").plugin == "claimant (rival 1.2.3)"

    def test_affects_no_other_name(self, conflicting):
        assert conflicting.config("ViT-B-16").embed_dim == 512
        assert conflicting.list_models().count("ViT-B-32") == 1

    def test_an_unknown_qualifier_is_named(self, conflicting):
        with pytest.raises(UnknownModelError) as caught:
            conflicting.config("claimnt::ViT-B-32")
        assert caught.value.name == "claimnt::ViT-B-32"


class TestATagTwice:
    SOURCE = """
@hookimpl
def list_pretrained(): return [("ViT-B-32", "{tag}")]
@hookimpl
def resolve_pretrained(name, tag):
    return Weights((Url("https://{name}.invalid/x.pt"),), tag) if (name, tag) == ("ViT-B-32", "{tag}") else None
"""

    def source(self, name, tag):
        return self.SOURCE.replace("{tag}", tag).replace("{name}", name)

    def test_is_a_conflict_of_both_plugins(self, install):
        install("rival", {"tagger": self.source("tagger", "openai")})
        with pytest.raises(ConflictError) as caught:
            Registry().explain("ViT-B-32", "openai")
        assert caught.value.name == "openai"
        assert set(caught.value.plugins) == {"tagger (rival 1.2.3)", OPENAI_CLIP}

    def test_a_qualified_model_takes_the_tag_of_its_own_plugin(self, install):
        install("rival", {"tagger": self.source("tagger", "openai")})
        explanation = Registry().explain("openai_clip::ViT-B-32", "openai")
        assert explanation.answered.startswith("openai_clip (registry_core")

    def test_of_two_other_plugins_stays_a_conflict_where_the_name_is_qualified(self, install):
        install("one", {"first": self.source("first", "ours")})
        install("two", {"second": self.source("second", "ours")})
        for name in ("ViT-B-32", "openai_clip::ViT-B-32"):
            with pytest.raises(ConflictError) as caught:
                Registry().explain(name, "ours")
            assert caught.value.plugins == ["first (one 1.2.3)", "second (two 1.2.3)"]
