"""registry.loss: the losses of plugins, and arguments that cannot be combined."""

from __future__ import annotations

from typing import ClassVar

import pytest
from torch import nn

from registry_core import (
    InputError,
    LossOptions,
    ModelConfig,
    OverrideError,
    PluginError,
    Registry,
    RegistryError,
    UnknownModelError,
    hookimpl,
)
from registry_core.losses import ClipLoss, DistillClipLoss

SPARE = {"embed_dim": 16, "vision_cfg": {"image_size": 32}, "text_cfg": {"vocab_size": 600}}
SIGLIP, COCA, DACLIP = "ViT-B-16-SigLIP", "coca_ViT-B-32", "daclip_ViT-B-32"


class TestWrongArguments:
    @pytest.mark.parametrize(("name", "loss"), [(COCA, "CoCaLoss"), (DACLIP, "DaClipLoss")])
    def test_distillation_by_a_loss_of_a_plugin(self, name, loss):
        with pytest.raises(OverrideError, match=rf"distill=True: models of .* a loss of their own, {loss}.*Leave dist"):
            Registry().loss(name, distill=True)

    @pytest.mark.parametrize("sigmoid", [True, False])
    @pytest.mark.parametrize(("name", "loss"), [(COCA, "CoCaLoss"), (DACLIP, "DaClipLoss")])
    def test_sigmoid_for_a_loss_of_a_plugin(self, name, loss, sigmoid):
        with pytest.raises(OverrideError, match=rf"sigmoid={sigmoid}: models of .*{loss}.*Leave sigmoid out"):
            Registry().loss(name, sigmoid=sigmoid)

    def test_distillation_with_the_sigmoid_loss(self):
        with pytest.raises(OverrideError, match="distill=True and sigmoid=True exclude each other"):
            Registry().loss("ViT-B-32", distill=True, sigmoid=True)

    @pytest.mark.parametrize("name", ["ViT-B-32", SIGLIP, COCA, DACLIP])
    @pytest.mark.parametrize(
        ("options", "argument"),
        [
            ({"rank": 2, "world_size": 2}, "rank"),
            ({"rank": "0", "world_size": 2}, "rank"),
            ({"dist_impl": "shft"}, "dist_impl"),
        ],
    )
    def test_options_that_are_not_valid(self, name, options, argument):
        with pytest.raises(InputError) as caught:
            Registry().loss(name, **options)
        assert caught.value.argument == argument

    def test_an_unknown_name(self):
        with pytest.raises(UnknownModelError) as caught:
            Registry().loss("ViT-B-23")
        assert caught.value.name == "ViT-B-23"
        assert "ViT-B-32" in caught.value.suggestions

    def test_a_module_that_no_registry_made(self):
        with pytest.raises(RegistryError, match="was not made by registry"):
            Registry().loss(nn.Linear(2, 2))


class TestLossOfAPlugin:
    @pytest.fixture
    def answering(self):
        class OddConfig(ModelConfig):
            architecture: ClassVar[str] = "odd"

        def make(answer):
            class Odd:
                @hookimpl
                def resolve_config(self, name, raw):
                    return OddConfig.parse(raw, name) if raw and raw.get("architecture") == "odd" else None

                @hookimpl
                def build_loss(self, config, options, registry):
                    assert isinstance(config, OddConfig)
                    assert isinstance(registry, Registry)
                    return answer(options) if isinstance(answer, type) else answer

            registry = Registry()
            registry.register(Odd(), "odd")
            registry.add_config({**SPARE, "architecture": "odd"}, "strange")
            return registry

        return make

    def test_its_own_loss_is_used_and_has_the_options(self, answering):
        class Own(nn.Module):
            def __init__(self, options):
                super().__init__()
                self.options = options

        loss = answering(Own).loss("strange", rank=1, world_size=2, dist_impl="gather", temperature=3)
        assert type(loss) is Own
        assert loss.options == LossOptions(1, 2, dist_impl="gather", further={"temperature": 3})

    def test_without_one_the_config_decides(self, answering):
        registry = answering(None)
        assert type(registry.loss("strange")) is ClipLoss
        assert type(registry.loss("strange", distill=True)) is DistillClipLoss

    def test_an_answer_that_is_not_a_module_is_an_error_of_the_plugin(self, answering):
        with pytest.raises(PluginError, match=r"build_loss with a builtin_function_or_method, expected a torch\.nn\.M"):
            answering(len).loss("strange")

    def test_a_hook_that_fails_is_an_error_of_the_plugin(self, answering):
        class Failing(nn.Module):
            def __init__(self, options):
                raise ValueError(options.rank)

        with pytest.raises(PluginError) as caught:
            answering(Failing).loss("strange")
        assert (caught.value.plugin, caught.value.hook) == ("odd", "build_loss")
        assert isinstance(caught.value.__cause__, ValueError)
