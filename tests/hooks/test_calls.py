# ruff: noqa: ARG005 - hooks take arguments by name
"""The calls to the hooks of plugins, and what the core does with each right and wrong answer."""

from __future__ import annotations

import functools
import itertools
import logging
import sys
import threading
import types

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
    UnknownWeightsError,
    Url,
    Weights,
    hookimpl,
)
from registry_core.fetch import Fetched


class TestWrongItemsInAList:
    @pytest.mark.parametrize(
        ("hook", "answer", "message"),
        [
            ("list_models", {"a": 3}, "its hook list_models with a config that is not a mapping"),
            (
                "list_pretrained",
                ["openai"],
                r"its hook list_pretrained with an item that is not a \(model, tag\) tuple",
            ),
            ("describe_models", {"a": 3}, "its hook describe_models with a column that is not a mapping"),
        ],
    )
    def test_are_described(self, registry, plugin, hook, answer, message):
        record = registry.register(plugin(**{hook: lambda: answer}))
        list(getattr(registry.services.calls, hook)())
        with pytest.raises(
            PluginError,
            match=rf"^Plugin extra .* answered {message}\. The answer was not used; the fault is in extra\.$",
        ):
            raise record.error


class TestAPluginForTheArchitectureOfAnother:
    @pytest.fixture
    def acme(self, install, acme_models):
        install("acme", {"models": acme_models})
        return Registry()

    def test_provides_the_model_and_another_plugin_owns_it(self, acme):
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

    def test_its_tags_are_suggested_for_an_unknown_tag(self, acme):
        with pytest.raises(UnknownWeightsError) as caught:
            acme.explain("ViT-B-32", "acme-finetun")
        assert caught.value.suggestions[0] == "acme-finetune"


class TestAnArchitectureOfItsOwn:
    def test_is_built_converted_loaded_and_finished(self, acme_arch, tmp_path):
        shell = acme_arch.create("acme-linear", device="meta")
        state = {f"net.{name}": torch.randn(t.shape) for name, t in shell.state_dict().items()}
        save_file(state, tmp_path / "acme.safetensors")
        model = acme_arch.create("acme-linear", tmp_path / "acme.safetensors")
        assert type(model).__name__ == "Wrapper"
        assert not model.training
        for name, value in model.inner.state_dict().items():
            assert torch.equal(value, state[f"net.{name}"])
        report = acme_arch.report(model)
        assert report.owner == report.plugin == "acme_arch (acme 1.2.3)"
        assert report.kind == "what Acme's trainer writes"
        assert report.post_load == ["acme_arch, replaced", "daclip"]
        assert "acme_arch, replaced" in str(report)
        assert model.encode_image(torch.zeros(1, 3, 8, 8)).shape == (1, 4)

    def test_has_a_loss_of_its_own(self, acme_arch):
        model = acme_arch.create("acme-linear", pretrained=False)
        loss = acme_arch.loss(model, rank=1, world_size=2)
        assert (type(loss).__name__, loss.rank, loss.world_size, loss.power) == ("DistanceLoss", 1, 2, 2)
        losses = loss(**model(torch.ones(3, 3, 8, 8), torch.arange(15).view(3, 5)), output_dict=True)
        losses["distance_loss"].backward()
        assert all(parameter.grad.any() for parameter in model.parameters())
        assert acme_arch.loss("acme-linear", power=4).power == 4

    def test_refuses_options_that_its_loss_lacks(self, acme_arch):
        with pytest.raises(OverrideError) as caught:
            acme_arch.loss("acme-linear", powr=4)
        assert caught.value.argument == "powr"
        assert caught.value.suggestions[0] == "power"
        with pytest.raises(OverrideError, match=r"distill=True: .*acme_arch.*DistanceLoss") as caught:
            acme_arch.loss("acme-linear", distill=True)
        assert caught.value.argument == "distill"

    def test_validates_its_own_keys_and_refuses_others(self, acme_arch):
        assert acme_arch.explain("acme-linear", vision_cfg={"hidden": 12}).config.vision_cfg.hidden == 12
        with pytest.raises(ConfigError) as caught:
            acme_arch.explain("acme-linear", vision_cfg={"hiden": 12})
        assert list(caught.value.problems) == ["vision_cfg.hiden"]
        assert caught.value.suggestions == ["hidden"]

    def test_claims_a_users_config(self, acme_arch):
        raw = acme_arch.config("acme-linear").raw()
        assert raw["architecture"] == "acme_arch"
        acme_arch.add_config({**raw, "embed_dim": 9}, "mine")
        assert acme_arch.explain("mine").owner == "acme_arch (acme 1.2.3)"
        assert acme_arch.config("mine").embed_dim == 9

    def test_is_saved_and_claimed_back(self, acme_arch, tmp_path):
        folder = acme_arch.save(acme_arch.create("acme-linear", pretrained=False), tmp_path / "saved")
        acme_arch.add_config(folder / "open_clip_config.json", "again")
        assert acme_arch.config("again").vision_cfg == acme_arch.config("acme-linear").vision_cfg


class TestHooksOfTheOwner:
    """A fault of the owner cannot be left out, so the caller gets an error that names the plugin."""

    @pytest.fixture
    def owner(self, registry, plugin):
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

    @pytest.fixture
    def linear_file(self, tmp_path):
        path = tmp_path / "w.safetensors"
        save_file({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, path)
        return path

    def test_build_model_that_raises(self, owner):
        def build_model(config):
            raise ZeroDivisionError("oops")

        with pytest.raises(PluginError) as caught:
            owner(build_model=build_model).create("fragile", False)
        assert (caught.value.plugin, caught.value.hook) == ("fragile", "build_model")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_build_model_that_returns_no_module(self, owner):
        with pytest.raises(BuildError) as caught:
            owner(build_model=lambda config: "model").create("fragile", False)
        assert caught.value.found == "str"

    def test_no_build_model(self, owner):
        with pytest.raises(BuildError) as caught:
            owner().create("fragile", False)
        assert caught.value.found == "NoneType"

    def test_convert_state_dict_that_returns_no_conversion(self, owner, linear_file):
        def dict_of(state):
            return dict(state)

        registry = owner(build_model=lambda config: torch.nn.Linear(2, 2), convert_state_dict=dict_of)
        with pytest.raises(PluginError) as caught:
            registry.create("fragile", linear_file)
        assert (caught.value.plugin, caught.value.hook) == ("fragile", "convert_state_dict")
        assert (caught.value.expected, caught.value.found) == ("Conversion", "dict")

    def test_without_convert_state_dict_the_names_stay_unchanged(self, owner, linear_file):
        model = owner(build_model=lambda config: torch.nn.Linear(2, 2)).create("fragile", linear_file)
        assert torch.equal(model.weight, torch.ones(2, 2))

    def test_post_load_of_another_plugin_that_returns_no_module(self, registry, plugin):
        registry.register(plugin(post_load=lambda model: True))
        with pytest.raises(PluginError) as caught:
            registry.create("tiny", False)
        assert (caught.value.plugin, caught.value.hook) == ("extra", "post_load")
        assert (caught.value.expected, caught.value.found) == ("a torch.nn.Module or None", "bool")

    def test_post_load_of_another_plugin_that_raises(self, registry, plugin):
        def post_load(model):
            raise ZeroDivisionError("oops")

        registry.register(plugin(post_load=post_load))
        with pytest.raises(PluginError) as caught:
            registry.create("tiny", False)
        assert (caught.value.plugin, caught.value.hook) == ("extra", "post_load")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_an_architecture_that_no_plugin_has(self, registry, plugin):
        base = type(registry.config("tiny"))
        orphan = type("OrphanConfig", (base,), {"architecture": "orphan", "__annotations__": {}})
        fields = {key: getattr(registry.config("tiny"), key) for key in base.model_fields}
        registry.register(plugin(resolve_config=lambda name: orphan(**fields) if name == "lost" else None))
        with pytest.raises(PluginError, match="OrphanConfig has the architecture 'orphan'") as caught:
            registry.config("lost")
        assert caught.value.plugin == "orphan"


def test_post_load_runs_for_the_owner_first_and_each_plugin_gets_the_result_of_the_one_before(registry, plugin):
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
    def test_gets_base_names_and_never_derived_ones(self, registry, plugin):
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
    @pytest.fixture
    def vault(self, registry, plugin, tiny_checkpoint):
        """vault("store") registers a plugin with a fetcher for vault: URLs; `tiny` has a tag with such a URL."""

        def resolve_pretrained(name, tag):
            return Weights((Url("vault://team/tiny.pt"),), tag) if tag == "mine" else None

        registry.register(plugin("tags", resolve_pretrained=resolve_pretrained))
        table = {"vault": lambda source, folder: Fetched(tiny_checkpoint)}
        return lambda name: registry.register(plugin(name, fetchers=lambda: table))

    def test_a_scheme_of_a_plugin(self, registry, vault, tiny_checkpoint):
        vault("store")
        assert registry.explain("tiny", "mine").places[0].state == "fetched by a plugin"
        assert registry.download("tiny", "mine") == tiny_checkpoint
        model = registry.create("tiny", "mine")
        assert registry.report(model).weights == "tag 'mine'"

    def test_two_for_one_scheme_are_a_conflict(self, registry, vault):
        vault("store")
        vault("shop")
        with pytest.raises(ConflictError, match="The scheme 'vault' is answered more than once") as caught:
            registry.download("tiny", "mine")
        assert caught.value.plugins == ["store ((registered))", "shop ((registered))"]


class TestPublicClasses:
    @pytest.mark.parametrize("place", [5, "nowhere_at_all:Z", "registry_core.errors:NoSuchName", "no such: place"])
    def test_that_cannot_be_imported_are_an_error(self, place):
        registry = Registry(plugins=["openai_clip"])
        registry.register(types.SimpleNamespace(public_classes=hookimpl(lambda: {"X": place})), "acme")
        with pytest.raises(PluginError) as caught:
            registry.services.public_class("X")
        assert (caught.value.name, caught.value.hook) == ("X", "public_classes")

    def test_of_a_plugin_that_fails_leave_the_others(self):
        def public_classes():
            raise ConfigError("no classes today")

        registry = Registry(plugins=["openai_clip"])
        plugin = registry.register(types.SimpleNamespace(public_classes=hookimpl(public_classes)), "acme")
        assert registry.services.public_class("CLIP").__name__ == "CLIP"
        assert plugin.error.hook == "public_classes"
        assert "no classes today" in str(plugin.error)


def test_a_plugin_that_fails_now_and_then_can_be_looked_at_from_other_threads(caplog):
    """Failures come and go while other threads read them."""
    caplog.set_level(logging.CRITICAL, logger="registry_core")
    answers = itertools.cycle([{}, 3])
    table = hookimpl(lambda: next(answers))
    registry = Registry(plugins=["openai_clip"])
    flaky = types.SimpleNamespace(describe_models=table, fetchers=table, public_classes=table)
    plugin = registry.register(flaky, "flaky")
    errors = []

    def repeat(action):
        try:
            for _ in range(1500):
                action()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported below
            errors.append(error)

    ask = functools.partial(repeat, registry.services.probe_plugins)
    look = functools.partial(repeat, lambda: [(plugin.error, plugin.state) for _ in range(20)])
    threads = [threading.Thread(target=target) for target in (ask, ask, look, look)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
