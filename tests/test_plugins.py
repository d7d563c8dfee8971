# ruff: noqa: ARG005 - hooks take arguments by name
"""Discovery, isolation and ownership, with packages that are really installed on a path."""

from __future__ import annotations

import importlib
import shutil
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from registry_core import (
    BuildError,
    ConfigError,
    ConflictError,
    OverrideError,
    PluginError,
    Registry,
    UnknownModelError,
    UnknownWeightsError,
    Url,
    Weights,
    hookimpl,
)
from registry_core.fetch import Fetched

FIXTURES = Path(__file__).parent / "fixture_plugins"

HEADER = "from registry_core import ModelConfig, Url, Weights, hookimpl\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("acme", {"entry": source or path}) puts a distribution on the path, with modules `<dist>_<entry>`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(distribution, entries, *, number="1.2.3"):
        points = []
        for entry, source in entries.items():
            module = f"{distribution}_{entry}"
            if isinstance(source, Path) and source.is_dir():
                shutil.copytree(source, site / module)
                module = f"{module}.plugin"
            elif isinstance(source, Path):
                shutil.copy(source, site / f"{module}.py")
            else:
                (site / f"{module}.py").write_text(HEADER + source)
            points.append(f"{entry} = {module}")
        info = site / f"{distribution}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {number}\n")
        (info / "entry_points.txt").write_text("[registry_core.plugins]\n" + "\n".join(points) + "\n")
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def record(registry, name):
    return next(plugin for plugin in registry.plugins() if plugin.name == name)


def causes(error):
    """Every exception that an error was raised from, groups opened."""
    found, queue = [], [error.__cause__]
    while queue:
        cause = queue.pop()
        if cause is not None:
            found.append(cause)
            queue += [cause.__cause__, *(cause.exceptions if isinstance(cause, BaseExceptionGroup) else ())]
    return found


def plugin(name="extra", **hooks):
    """A plugin object with these hooks."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        function.__name__ = hook
        setattr(module, hook, hookimpl(function))
    return module


class TestDiscovery:
    def test_shipped_plugins_come_with_distribution_and_version(self):
        found = {p.name: p for p in Registry().plugins()}
        for name in ("openai_clip", "daclip"):
            assert found[name].distribution == "registry_core"
            assert found[name].version == version("registry_core")
            assert found[name].location == f"registry_plugins.{name}.plugin"
            assert found[name].error is None
            assert found[name].active

    def test_plugins_are_ordered_by_distribution_and_name(self, install):
        install("zeta", {"aardvark": ""})
        install("alpha", {"zebra": "", "ant": ""})
        found = [(p.distribution, p.name) for p in Registry().plugins()]
        assert found == sorted(found)
        assert {("alpha", "ant"), ("alpha", "zebra"), ("zeta", "aardvark"), ("registry_core", "daclip")} <= set(found)

    def test_a_third_party_is_found_with_its_version(self, install):
        install("acme", {"models": FIXTURES / "acme_models.py"}, number="4.5")
        found = record(Registry(), "models")
        assert (found.distribution, found.version, found.error) == ("acme", "4.5", None)
        assert str(found) == "models (acme 4.5)"

    def test_plugins_are_looked_for_once_and_late(self, install):
        registry = Registry()
        install("late", {"models": FIXTURES / "acme_models.py"})
        assert "acme-vit" in registry.list_models(), "looked for at first use, not when the registry was made"
        install("later", {"other": ""})
        assert "other" not in [p.name for p in registry.plugins()]


# name -> source, the hook whose question shows the fault (None: known at discovery), words of the error
BROKEN = {
    "raises_at_import": ("raise RuntimeError('no licence')", None, "RuntimeError: no licence"),
    "absent_package": ("import surely_not_installed", None, "No module named 'surely_not_installed'"),
    "syntax_error": ("def broken(:", None, "SyntaxError"),
    "misspelt_hook": (
        "@hookimpl\ndef resolve_confg(name): return None",
        None,
        "'resolve_confg' is no hook. Did you mean resolve_config",
    ),
    "extra_argument": (
        "@hookimpl\ndef resolve_config(name, colour): return None",
        None,
        r"Argument\(s\) \{'colour'\} are declared in the hookimpl",
    ),
    "hook_wrapper": (
        "@hookimpl(wrapper=True)\ndef list_models():\n    return (yield)",
        None,
        "list_models is a hook wrapper",
    ),
    "raises_in_list_models": (
        "@hookimpl\ndef list_models(): raise ZeroDivisionError('oops')",
        "list_models",
        "failed in its hook list_models: ZeroDivisionError: oops",
    ),
    "raises_our_error_in_list_models": (
        "from registry_core import ConfigError\n@hookimpl\ndef list_models(): raise ConfigError('oops')",
        "list_models",
        "failed in its hook list_models: ConfigError: oops",
    ),
    "raises_in_list_pretrained": ("@hookimpl\ndef list_pretrained(): return 1 / 0", "list_pretrained", "ZeroDivision"),
    "raises_in_derive_models": ("@hookimpl\ndef derive_models(base): return base['?']", "list_models", "KeyError"),
    "raises_in_resolve_config": ("@hookimpl\ndef resolve_config(name): return name.nope", "config", "AttributeError"),
    "raises_in_resolve_pretrained": (
        "@hookimpl\ndef resolve_pretrained(name): raise OSError('disk')",
        "explain",
        "failed in its hook resolve_pretrained: OSError: disk",
    ),
    "type_of_list_models": (
        "@hookimpl\ndef list_models(): return ['a']",
        "list_models",
        "answered its hook list_models with a list, expected Mapping",
    ),
    "type_of_a_listed_model": (
        "@hookimpl\ndef list_models(): return {'a': 3}",
        "list_models",
        "answered its hook list_models with a config that is no mapping",
    ),
    "type_of_list_pretrained": (
        "@hookimpl\ndef list_pretrained(): return {'a': 'b'}",
        "list_pretrained",
        "answered its hook list_pretrained with a dict, expected list or tuple",
    ),
    "type_of_a_listed_tag": (
        "@hookimpl\ndef list_pretrained(): return ['openai']",
        "list_pretrained",
        r"answered its hook list_pretrained with an item that is no \(model, tag\) tuple",
    ),
    "type_of_derive_models": (
        "@hookimpl\ndef derive_models(base): return [1]",
        "list_models",
        "answered its hook derive_models with a list, expected Mapping",
    ),
    "type_of_resolve_config": (
        "@hookimpl\ndef resolve_config(name): return {'embed_dim': 3}",
        "config",
        "answered its hook resolve_config with a dict, expected ModelConfig",
    ),
    "type_of_resolve_pretrained": (
        "@hookimpl\ndef resolve_pretrained(name): return '/a/path'",
        "explain",
        "answered its hook resolve_pretrained with a str, expected Weights",
    ),
}

ASK = {
    None: lambda registry: registry.plugins(),
    "list_models": lambda registry: registry.list_models(),
    "list_pretrained": lambda registry: registry.list_pretrained(),
    "config": lambda registry: registry.config("ViT-B-32"),
    "explain": lambda registry: registry.explain("ViT-B-32", "openai"),
}


class TestABrokenPlugin:
    @pytest.fixture(params=BROKEN)
    def broken(self, request, install):
        source, question, words = BROKEN[request.param]
        install("brittle", {request.param: source})
        registry = Registry()
        ASK[question](registry)
        return registry, record(registry, request.param), words

    def test_is_listed_with_an_error_that_names_it(self, broken):
        _, found, words = broken
        assert isinstance(found.error, PluginError)
        assert found.distribution == "brittle"
        with pytest.raises(PluginError, match=words):
            raise found.error
        with pytest.raises(PluginError, match=rf"^Plugin {found.name} \(brittle 1.2.3\) "):
            raise found.error

    def test_leaves_the_others_working(self, broken):
        registry, _, _ = broken
        healthy = Registry(plugins=[])
        for shipped in [p for p in registry.plugins() if p.distribution == "registry_core"]:
            healthy.register(importlib.import_module(shipped.location), shipped.name)
        assert registry.list_models() == healthy.list_models()
        assert registry.list_pretrained() == healthy.list_pretrained()
        assert registry.config("daclip_ViT-B-32").architecture == "daclip"
        assert registry.explain("daclip_ViT-B-32", "openai").places
        assert all(record(registry, name).error is None for name in ("openai_clip", "daclip"))

    def test_is_the_cause_when_a_model_is_not_found(self, broken):
        registry, found, _ = broken
        with pytest.raises(UnknownModelError, match=rf"Not asked or failing: {found.name} \(brittle") as caught:
            registry.config("brittle-model")
        assert found.error in causes(caught.value)

    def test_is_shown_by_explain(self, broken):
        registry, found, _ = broken
        explanation = registry.explain("ViT-B-32", "openai")
        assert f"{found}: {found.error}" in explanation.broken
        assert " ".join(str(found.error).split()) in " ".join(str(explanation).split())


def test_the_errors_of_several_broken_plugins_are_the_causes_together(install):
    install("brittle", {"one": "raise RuntimeError('first')", "two": "raise RuntimeError('second')"})
    registry = Registry()
    with pytest.raises(UnknownModelError, match="the cause is below") as caught:
        registry.config("no-such-model")
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert {str(cause) for cause in causes(caught.value)} >= {"first", "second"}


def test_a_failure_at_the_first_listing_is_named_in_the_error_that_lists(install):
    install("brittle", {"late": "@hookimpl\ndef list_models(): raise ZeroDivisionError('oops')"})
    with pytest.raises(UnknownModelError, match=r"Not asked or failing: late \(brittle 1.2.3\)") as caught:
        Registry().config("no-such-model")
    assert isinstance(caught.value.__cause__, PluginError)


def test_unclaimed_configs_have_the_broken_plugin_as_cause(install):
    install("brittle", {"arch": "import surely_not_installed"})
    registry = Registry()
    with pytest.raises(ConfigError, match=r"No plugin claims the config of .*its architecture is 'arch'") as caught:
        registry.add_config({"architecture": "arch", "embed_dim": 3}, "mine")
    assert caught.value.__cause__ is record(registry, "arch").error


class TestTheSameEntryPointNameTwice:
    def test_the_second_is_reported_and_the_first_works(self, install):
        install("aaa", {"twice": FIXTURES / "acme_models.py"})
        install("bbb", {"twice": FIXTURES / "acme_models.py"})
        registry = Registry()
        first, second = [p for p in registry.plugins() if p.name == "twice"]
        assert (first.distribution, first.error, first.active) == ("aaa", None, True)
        assert (second.distribution, second.active) == ("bbb", False)
        with pytest.raises(
            PluginError, match=r"twice \(bbb 1.2.3\) was not loaded: the name 'twice' is already used by twice \(aaa"
        ):
            raise second.error
        assert registry.config("acme-vit").embed_dim == 16

    def test_a_shipped_name_is_not_taken_over(self, install):
        install("squatter", {"openai_clip": "@hookimpl\ndef list_models(): return {'mine': {}}"})
        registry = Registry()
        places = [(p.distribution, p.active) for p in registry.plugins() if p.name == "openai_clip"]
        assert places == [("registry_core", True), ("squatter", False)]
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

    def test_names_both_distributions_and_what_to_do(self, conflicting):
        with pytest.raises(ConflictError, match=r"'ViT-B-32' is answered more than once") as caught:
            conflicting.config("ViT-B-32")
        message = str(caught.value)
        assert "claimant (rival 1.2.3) in rival_claimant" in message
        assert f"openai_clip (registry_core {version('registry_core')})" in message
        assert "'openai_clip::ViT-B-32' or 'claimant::ViT-B-32'" in message
        assert "None was chosen" in message

    def test_is_resolved_by_qualifying_the_name(self, conflicting):
        assert conflicting.config("claimant::ViT-B-32").embed_dim == 7
        assert conflicting.config("openai_clip::ViT-B-32").embed_dim == 512
        assert conflicting.explain("claimant::ViT-B-32").plugin == "claimant (rival 1.2.3)"

    def test_hurts_no_other_name(self, conflicting):
        assert conflicting.config("ViT-B-16").embed_dim == 512
        assert conflicting.list_models().count("ViT-B-32") == 1

    def test_an_unknown_qualifier_is_named(self, conflicting):
        with pytest.raises(UnknownModelError, match="There is no working plugin 'claimnt'"):
            conflicting.config("claimnt::ViT-B-32")


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

    def test_names_both_distributions(self, install):
        install("rival", {"tagger": self.source("tagger", "openai")})
        with pytest.raises(ConflictError, match="The tag 'openai' of 'ViT-B-32' is answered more than once") as caught:
            Registry().explain("ViT-B-32", "openai")
        assert "tagger (rival 1.2.3)" in str(caught.value)
        assert "openai_clip (registry_core" in str(caught.value)

    def test_the_qualified_model_has_its_own_plugins_tag(self, install):
        install("rival", {"tagger": self.source("tagger", "openai")})
        explanation = Registry().explain("openai_clip::ViT-B-32", "openai")
        assert explanation.answered.startswith("openai_clip (registry_core")

    def test_two_strangers_are_in_conflict_even_where_the_name_is_qualified(self, install):
        install("one", {"first": self.source("first", "ours")})
        install("two", {"second": self.source("second", "ours")})
        for name in ("ViT-B-32", "openai_clip::ViT-B-32"):
            with pytest.raises(ConflictError, match=r"(?s)first \(one.*second \(two"):
                Registry().explain(name, "ours")


class TestAThirdPartyOnSomebodyElsesArchitecture:
    @pytest.fixture
    def acme(self, install):
        install("acme", {"models": FIXTURES / "acme_models.py"})
        return Registry()

    def test_brings_the_model_and_another_owns_it(self, acme):
        model = acme.create("acme-vit", pretrained=False)
        assert type(model).__module__ == "registry_plugins.openai_clip.model"
        report = acme.report(model)
        assert report.plugin == "models (acme 1.2.3)"
        assert report.owner.startswith("openai_clip (registry_core")

    def test_its_model_has_a_da_clip(self, acme):
        assert "daclip_acme-vit" in acme.list_models()
        assert acme.create("daclip_acme-vit", pretrained=False).clip.visual is not None

    def test_adds_a_tag_to_a_model_that_it_does_not_own(self, acme):
        assert ("ViT-B-32", "acme-finetune") in acme.list_pretrained("ViT-B-32")
        explanation = acme.explain("ViT-B-32", "acme-finetune")
        assert explanation.plugin.startswith("openai_clip (registry_core")
        assert explanation.answered == "models (acme 1.2.3)"
        assert explanation.places[0].source == "https://weights.acme.invalid/ViT-B-32-acme-finetune.safetensors"
        assert [str(s) for s in explanation.settled] == ["quick_gelu = True (by tag 'acme-finetune')"]

    def test_the_da_clip_of_that_model_has_the_tag_too(self, acme):
        assert ("daclip_ViT-B-32", "acme-finetune") in acme.list_pretrained()
        assert acme.explain("daclip_ViT-B-32", "acme-finetune").config.quick_gelu is True

    def test_its_tags_are_listed_where_a_tag_is_unknown(self, acme):
        with pytest.raises(UnknownWeightsError, match="Did you mean acme-finetune"):
            acme.explain("ViT-B-32", "acme-finetun")


class TestAnArchitectureOfItsOwn:
    @pytest.fixture
    def acme(self, install):
        install("acme", {"acme_arch": FIXTURES / "acme_arch"})
        return Registry()

    def test_is_built_converted_loaded_and_finished(self, acme, tmp_path):
        shell = acme.create("acme-linear", device="meta")
        state = {f"net.{name}": torch.randn(t.shape) for name, t in shell.state_dict().items()}
        save_file(state, tmp_path / "acme.safetensors")
        model = acme.create("acme-linear", tmp_path / "acme.safetensors")
        assert type(model).__name__ == "Wrapper"
        assert not model.training
        for name, value in model.inner.state_dict().items():
            assert torch.equal(value, state[f"net.{name}"])
        report = acme.report(model)
        assert report.owner == report.plugin == "acme_arch (acme 1.2.3)"
        assert report.kind == "what Acme's trainer writes"
        assert report.post_load == ["acme_arch, replaced", "daclip"]
        assert "acme_arch, replaced" in str(report)
        assert model.encode_image(torch.zeros(1, 3, 8, 8)).shape == (1, 4)

    def test_brings_a_loss_of_its_own(self, acme):
        model = acme.create("acme-linear", pretrained=False)
        loss = acme.loss(model, rank=1, world_size=2)
        assert (type(loss).__name__, loss.rank, loss.world_size, loss.power) == ("DistanceLoss", 1, 2, 2)
        losses = loss(**model(torch.ones(3, 3, 8, 8), torch.arange(15).view(3, 5)), output_dict=True)
        losses["distance_loss"].backward()
        assert all(parameter.grad.any() for parameter in model.parameters())
        assert acme.loss("acme-linear", power=4).power == 4
        with pytest.raises(OverrideError, match=r"powr= is no argument of this model's loss\. Did you mean power\?"):
            acme.loss("acme-linear", powr=4)
        with pytest.raises(OverrideError, match=r"distill=True: models of acme_arch are trained with .* DistanceLoss"):
            acme.loss("acme-linear", distill=True)

    def test_validates_its_own_keys_and_refuses_others(self, acme):
        assert acme.explain("acme-linear", vision_cfg={"hidden": 12}).config.vision_cfg.hidden == 12
        with pytest.raises(ConfigError, match=r"vision_cfg\.hiden: unknown key\. Did you mean hidden"):
            acme.explain("acme-linear", vision_cfg={"hiden": 12})

    def test_claims_a_users_config(self, acme):
        raw = acme.config("acme-linear").raw()
        assert raw["architecture"] == "acme_arch"
        acme.add_config({**raw, "embed_dim": 9}, "mine")
        assert acme.explain("mine").owner == "acme_arch (acme 1.2.3)"
        assert acme.config("mine").embed_dim == 9

    def test_is_saved_and_claimed_back(self, acme, tmp_path):
        folder = acme.save(acme.create("acme-linear", pretrained=False), tmp_path / "saved")
        acme.add_config(folder / "open_clip_config.json", "again")
        assert acme.config("again").vision_cfg == acme.config("acme-linear").vision_cfg


class TestHooksThatMakeModels:
    """Faults of the owner cannot be stepped over: they are the caller's error, with the plugin's name."""

    @pytest.fixture
    def owner(self, registry):
        def broken(**hooks):
            tiny = registry.config("tiny")
            config_type = type("FragileConfig", (type(tiny),), {"architecture": "fragile", "__annotations__": {}})
            table = {"fragile": {**tiny.raw(), "architecture": "fragile"}}

            def resolve_config(name, raw):
                raw = table.get(name) if raw is None else raw
                return config_type.parse(raw, name) if raw and raw.get("architecture") == "fragile" else None

            registry.register(plugin("fragile", list_models=lambda: table, resolve_config=resolve_config, **hooks))
            return registry

        return broken

    def test_build_model_that_raises(self, owner):
        def build_model(config):
            raise ZeroDivisionError("oops")

        with pytest.raises(
            PluginError, match=r"fragile \(\(registered\)\) failed in its hook build_model: ZeroDivisionError: oops"
        ) as caught:
            owner(build_model=build_model).create("fragile", False)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_build_model_that_gives_no_module(self, owner):
        with pytest.raises(BuildError, match=r"build_model returned a str, expected a torch\.nn\.Module"):
            owner(build_model=lambda config: "model").create("fragile", False)

    def test_no_build_model_at_all(self, owner):
        with pytest.raises(BuildError, match="build_model returned a NoneType"):
            owner().create("fragile", False)

    def test_convert_state_dict_that_gives_no_conversion(self, owner, tmp_path):
        def dict_of(state):
            return dict(state)

        save_file({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
        registry = owner(build_model=lambda config: torch.nn.Linear(2, 2), convert_state_dict=dict_of)
        with pytest.raises(PluginError, match="answered its hook convert_state_dict with a dict, expected Conversion"):
            registry.create("fragile", tmp_path / "w.safetensors")

    def test_without_convert_state_dict_the_names_are_taken_as_they_are(self, owner, tmp_path):
        save_file({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, tmp_path / "w.safetensors")
        model = owner(build_model=lambda config: torch.nn.Linear(2, 2)).create("fragile", tmp_path / "w.safetensors")
        assert torch.equal(model.weight, torch.ones(2, 2))

    def test_post_load_of_a_bystander_that_gives_no_module(self, registry):
        registry.register(plugin(post_load=lambda model: True))
        with pytest.raises(
            PluginError, match=r"extra .* answered its hook post_load with a bool, expected a torch\.nn"
        ):
            registry.create("tiny", False)

    def test_post_load_of_a_bystander_that_raises(self, registry):
        def post_load(model):
            raise ZeroDivisionError("oops")

        registry.register(plugin(post_load=post_load))
        with pytest.raises(PluginError, match=r"extra .* failed in its hook post_load: ZeroDivisionError: oops"):
            registry.create("tiny", False)

    def test_an_architecture_that_no_plugin_has(self, registry):
        base = type(registry.config("tiny"))
        orphan = type("OrphanConfig", (base,), {"architecture": "orphan", "__annotations__": {}})
        fields = {key: getattr(registry.config("tiny"), key) for key in base.model_fields}
        registry.register(plugin(resolve_config=lambda name: orphan(**fields) if name == "lost" else None))
        with pytest.raises(PluginError, match="OrphanConfig has the architecture 'orphan', and no working plugin"):
            registry.config("lost")


class TestPostLoadIsAChain:
    def test_the_owner_first_then_the_others_each_on_what_came_before(self, registry):
        seen = []

        def first(model):
            seen.append(type(model).__name__)
            return torch.nn.Sequential(model)

        def second(model, report):
            seen.append(type(model).__name__)
            report.notes.append("second was here")

        registry.register(plugin("aa", post_load=first))
        registry.register(plugin("bb", post_load=second))
        model = registry.create("daclip_tiny", False)
        assert seen == ["DaCLIP", "Sequential"]
        assert isinstance(model, torch.nn.Sequential)
        report = registry.report(model)
        assert report.post_load == ["daclip", "aa, replaced", "bb"]
        assert "second was here" in report.notes


class TestDeriveModels:
    def test_is_asked_over_base_names_and_never_over_derived_ones(self, registry):
        asked = []

        def derive_models(base):
            asked.append(set(base))
            return {f"twin_{name}": name for name in base if name == "tiny"}

        registry.register(plugin("twins", derive_models=derive_models))
        names = registry.list_models()
        assert len(asked) == 1
        assert {"tiny", "ViT-B-32"} <= asked[0]
        assert not [name for name in asked[0] if name.startswith(("daclip_", "twin_"))]
        assert "twin_tiny" in names
        assert not [name for name in names if "daclip_twin" in name or "twin_daclip" in name or "daclip_daclip" in name]

    def test_a_da_clip_added_as_a_config_has_no_da_clip(self, registry):
        registry.add_config(registry.config("daclip_tiny").raw(), "mine")
        assert registry.list_models("*mine") == ["mine"]

    def test_a_derived_model_has_its_bases_tags(self, registry):
        base = {tag for _, tag in registry.list_pretrained("ViT-B-32")}
        assert base
        assert {tag for _, tag in registry.list_pretrained("daclip_ViT-B-32")} == base


class TestFetchers:
    @staticmethod
    def vault(name, path):
        return plugin(name, fetchers=lambda: {"vault": lambda source, folder: Fetched(path)})

    @staticmethod
    def tagged(url):
        return plugin("tags", resolve_pretrained=lambda name, tag: Weights((Url(url),), tag) if tag == "mine" else None)

    def test_a_scheme_of_its_own(self, registry, tiny_checkpoint):
        registry.register(self.vault("store", tiny_checkpoint))
        registry.register(self.tagged("vault://team/tiny.pt"))
        assert registry.explain("tiny", "mine").places[0].state == "fetched by a plugin"
        assert registry.download("tiny", "mine") == tiny_checkpoint
        model = registry.create("tiny", "mine")
        assert registry.report(model).weights == "tag 'mine'"

    def test_two_for_one_scheme_are_a_conflict(self, registry, tiny_checkpoint):
        for name in ("store", "shop"):
            registry.register(self.vault(name, tiny_checkpoint))
        registry.register(self.tagged("vault://team/tiny.pt"))
        with pytest.raises(ConflictError, match=r"The scheme 'vault' is answered more than once: by store .* and shop"):
            registry.download("tiny", "mine")


class TestRegister:
    def test_adds_to_the_installed_ones(self, registry):
        added = registry.register(plugin(list_models=lambda: {"extra": {}}))
        assert (added.name, added.distribution, added.active) == ("extra", "(registered)", True)
        assert {"extra", "ViT-B-32"} <= set(registry.list_models())

    def test_takes_a_name_of_its_own(self, registry):
        assert registry.register(plugin(), "other").name == "other"

    @pytest.mark.parametrize("asked_before", [True, False])
    def test_refuses_a_taken_name(self, asked_before):
        registry = Registry()
        if asked_before:
            registry.plugins()
        with pytest.raises(PluginError, match=r"the name 'openai_clip' is already used by openai_clip .registry_core"):
            registry.register(plugin("openai_clip"))
        assert record(registry, "openai_clip").distribution == "registry_core"
        assert registry.config("ViT-B-32").embed_dim == 512

    def test_refuses_a_hook_that_is_none(self, registry):
        with pytest.raises(PluginError, match=r"'build_modle' is no hook. Did you mean build_model"):
            registry.register(plugin(build_modle=lambda config: None))
        assert "extra" not in [p.name for p in registry.plugins()]

    def test_refuses_an_argument_that_is_none_and_takes_the_mended_plugin(self, registry):
        with pytest.raises(PluginError, match="colour"):
            registry.register(plugin(resolve_config=lambda colour: None))
        assert registry.register(plugin(resolve_config=lambda name: None)).active

    def test_takes_an_object_with_methods(self, registry):
        class Plugin:
            @hookimpl
            def list_models(self):
                return {"from-object": {}}

        registry.register(Plugin())
        assert "from-object" in registry.list_models()


class TestIsolatedRegistry:
    def test_has_the_given_plugins_and_no_others(self, install):
        install("acme", {"models": FIXTURES / "acme_models.py"})
        registry = Registry(plugins=[plugin(list_models=lambda: {"only": {}})])
        assert [p.name for p in registry.plugins()] == ["extra"]
        assert registry.list_models() == ["only"]

    def test_may_have_none_at_all(self):
        registry = Registry(plugins=[])
        assert registry.list_models() == []
        with pytest.raises(UnknownModelError, match="Asked: no plugin"):
            registry.config("ViT-B-32")

    def test_shares_nothing_with_another(self, registry):
        registry.register(plugin(list_models=lambda: {"extra": {}}))
        assert "extra" not in Registry().list_models()
        assert "tiny" not in Registry().list_models()

    def test_refuses_a_bad_plugin_when_it_is_made(self):
        with pytest.raises(PluginError, match="is no hook"):
            Registry(plugins=[plugin(list_model=lambda: None)])


class TestPublicClasses:
    @pytest.mark.parametrize("place", [5, "nowhere_at_all:Z", "registry_core.errors:NoSuchName", "no such: place"])
    def test_that_are_not_where_the_plugin_says(self, place):
        registry = Registry(plugins=["openai_clip"])
        registry.register(types.SimpleNamespace(public_classes=hookimpl(lambda: {"X": place})), "acme")
        with pytest.raises(PluginError, match=r"public class 'X' should be .*Correct the answer"):
            registry.services.public_class("X")

    def test_of_a_plugin_that_fails_leave_the_others(self):
        def public_classes():
            raise ConfigError("no classes today")

        registry = Registry(plugins=["openai_clip"])
        plugin = registry.register(types.SimpleNamespace(public_classes=hookimpl(public_classes)), "acme")
        assert registry.services.public_class("CLIP").__name__ == "CLIP"
        assert "no classes today" in str(plugin.error)
