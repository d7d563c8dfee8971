"""registry.loss: which loss a model has, and how the caller and plugins have their say."""

from __future__ import annotations

from typing import ClassVar

import pytest
from loss_models import SMALL
from loss_models import registry as small_models
from registry_plugins.coca.loss import CoCaLoss
from registry_plugins.daclip.loss import DaClipLoss
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
from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss

SPARE = {"embed_dim": 16, "vision_cfg": {"image_size": 32}, "text_cfg": {"vocab_size": 600}}


@pytest.fixture
def registry():
    return small_models()


def settings(loss):
    return {
        name: getattr(loss, name)
        for name in ("rank", "world_size", "local_loss", "gather_with_grad", "cache_labels", "dist_impl")
        if hasattr(loss, name)
    }


class TestWhose:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("ViT-B-32", ClipLoss),
            ("ViT-B/16-SigLIP", SigLipLoss),
            ("ViT-B-16-SigLIP2-256", SigLipLoss),
            ("MobileCLIP-S1", ClipLoss),
            ("coca_ViT-B-32", CoCaLoss),
            ("coca_roberta-ViT-B-32", CoCaLoss),
            ("daclip_ViT-B-32", DaClipLoss),
        ],
    )
    def test_of_a_name(self, registry, name, kind):
        assert type(registry.loss(name)) is kind

    def test_every_model_has_one(self, registry):
        kinds = {
            "openai_clip": {ClipLoss},
            "custom_text_clip": {ClipLoss, SigLipLoss},
            "coca": {CoCaLoss},
            "daclip": {DaClipLoss},
        }
        for name in registry.list_models():
            config = registry.config(name)
            assert type(registry.loss(name)) in kinds[config.architecture], name

    def test_the_name_has_no_say(self, registry):
        """A CLIP that is called as if it were something else is trained as a CLIP, and the other way round."""
        registry.add_config(SMALL, "not-a-coca-siglip")
        registry.add_config(registry.config("coca").raw(), "plain")
        assert type(registry.loss("not-a-coca-siglip")) is ClipLoss
        assert type(registry.loss("plain")) is CoCaLoss

    @pytest.mark.parametrize("name", ["clip", "siglip", "coca", "daclip_base"])
    def test_of_a_created_model_is_that_of_its_name(self, registry, name):
        model = registry.create(name, pretrained=False)
        assert type(registry.loss(model)) is type(registry.loss(name))

    def test_a_bias_that_the_caller_gave_counts(self, registry):
        model = registry.create("clip", pretrained=False, init_logit_bias=-10.0)
        assert type(registry.loss(model)) is SigLipLoss

    def test_a_bias_of_zero_is_one(self, registry):
        registry.add_config({**SMALL, "init_logit_bias": 0.0}, "zero")
        assert type(registry.loss("zero")) is SigLipLoss

    @pytest.mark.parametrize(("name", "kind"), [("clip", SigLipLoss), ("siglip", SigLipLoss)])
    def test_sigmoid_is_the_callers_to_want(self, registry, name, kind):
        assert type(registry.loss(name, sigmoid=True)) is kind
        assert type(registry.loss(name, sigmoid=False)) is ClipLoss

    @pytest.mark.parametrize("name", ["clip", "siglip"])
    def test_distillation(self, registry, name):
        assert type(registry.loss(name, distill=True)) is DistillClipLoss
        assert type(registry.loss(name, distill=True, sigmoid=False)) is DistillClipLoss


class TestOptions:
    @pytest.mark.parametrize("name", ["clip", "siglip", "coca", "daclip_base"])
    def test_reach_the_loss(self, registry, name):
        given = {
            "rank": 1,
            "world_size": 3,
            "local_loss": True,
            "gather_with_grad": True,
            "cache_labels": True,
            "dist_impl": "shift",
        }
        found = settings(registry.loss(name, **given))
        assert found == {key: given[key] for key in found}
        expected = {"rank", "world_size", "cache_labels", "dist_impl"}
        assert found.keys() == (expected if name == "siglip" else given.keys() - {"dist_impl"})

    def test_no_exchange_is_the_first(self, registry):
        assert registry.loss("siglip", dist_impl=None).dist_impl == "bidir"

    def test_cocas_own(self, registry):
        loss = registry.loss("coca")
        assert (loss.caption_loss_weight, loss.clip_loss_weight, loss.caption_loss.ignore_index) == (2.0, 1.0, 0)
        loss = registry.loss("coca", caption_loss_weight=1, clip_loss_weight=0.5, pad_id=7)
        assert (loss.caption_loss_weight, loss.clip_loss_weight, loss.caption_loss.ignore_index) == (1, 0.5, 7)

    def test_cocas_padding_is_its_configs(self, registry):
        registry.add_config({**registry.config("coca").raw(), "pad_id": 1}, "coca-1")
        assert registry.loss("coca-1").caption_loss.ignore_index == 1

    def test_a_plugin_gets_them_all(self):
        assert LossOptions(1, 2).contrastive() == {
            "rank": 1,
            "world_size": 2,
            "local_loss": False,
            "gather_with_grad": False,
            "cache_labels": False,
        }

    def test_values_are_of_the_kind_of_the_default(self):
        defaults = {"share": 0.5, "times": 2, "deep": False, "way": "mean", "weights": None}
        good = {"share": 1, "times": 3, "deep": True, "way": "sum", "weights": [1, 2]}
        assert LossOptions(further=good).own("A loss", **defaults) == good
        assert LossOptions(further={"weights": True}).own("A loss", **defaults) == {**defaults, "weights": True}
        for key, value, expected in (
            ("share", True, "a number"),
            ("share", "1", "a number"),
            ("times", 1.0, "a whole number"),
            ("times", True, "a whole number"),
            ("deep", 1, "True or False"),
            ("way", 3, "a string"),
        ):
            with pytest.raises(OverrideError, match=rf"{key}={value!r}: A loss expects {expected}\. No loss was made"):
                LossOptions(further={key: value}).own("A loss", **defaults)


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "given", "message"),
        [
            ("coca", {"caption_los_weight": 1.0}, r"caption_los_weight= .* Did you mean caption_loss_weight"),
            ("coca", {"surely": 1}, "CoCaLoss's own are caption_loss_weight, clip_loss_weight, pad_id"),
            ("coca", {"local_los": True}, r"local_los= .* Did you mean local_loss"),
            ("clip", {"local_los": True}, r"local_los= .* Did you mean local_loss.*The contrastive loss has none"),
            ("clip", {"caption_loss_weight": 1.0}, "caption_loss_weight= is no argument of this model's loss"),
            ("siglip", {"dist_imp": "gather"}, r"Did you mean .*dist_impl"),
            ("daclip_base", {"degra_loss_weight": 1.0}, "DaClipLoss has none of its own"),
            ("coca", {"pad_id": 0.5}, r"pad_id=0\.5: CoCaLoss expects a whole number"),
            ("coca", {"clip_loss_weight": "1"}, r"clip_loss_weight='1': CoCaLoss expects a number"),
            ("coca", {"clip_loss_weight": True}, r"clip_loss_weight=True: CoCaLoss expects a number"),
        ],
    )
    def test_arguments_that_the_loss_has_not(self, registry, name, given, message):
        with pytest.raises(OverrideError, match=message):
            registry.loss(name, **given)

    @pytest.mark.parametrize(("name", "loss"), [("coca", "CoCaLoss"), ("daclip_base", "DaClipLoss")])
    def test_wishes_that_a_loss_of_its_own_does_not_fulfil(self, registry, name, loss):
        with pytest.raises(OverrideError, match=rf"distill=True: models of .* a loss of their own, {loss}.*Leave dist"):
            registry.loss(name, distill=True)
        for sigmoid in (True, False):
            with pytest.raises(OverrideError, match=rf"sigmoid={sigmoid}: models of .*{loss}.*Leave sigmoid out"):
                registry.loss(name, sigmoid=sigmoid)

    def test_wishes_that_exclude_each_other(self, registry):
        with pytest.raises(OverrideError, match="distill=True and sigmoid=True exclude each other"):
            registry.loss("clip", distill=True, sigmoid=True)

    @pytest.mark.parametrize("name", ["clip", "siglip", "coca", "daclip_base"])
    def test_options_that_cannot_be_followed(self, registry, name):
        with pytest.raises(InputError, match="rank=2 and world_size=2 do not go together"):
            registry.loss(name, rank=2, world_size=2)
        with pytest.raises(InputError, match="rank='0' and world_size=2 do not go together"):
            registry.loss(name, rank="0", world_size=2)
        with pytest.raises(InputError, match=r"dist_impl='shft' is unknown\. Did you mean shift\?"):
            registry.loss(name, dist_impl="shft")

    def test_a_name_that_leads_nowhere(self, registry):
        with pytest.raises(UnknownModelError, match=r"There is no model 'ViT-B-23'.*Did you mean .*ViT-B-32"):
            registry.loss("ViT-B-23")

    def test_a_module_of_another_origin(self, registry):
        with pytest.raises(RegistryError, match="was not made by registry"):
            registry.loss(nn.Linear(2, 2))


class TestOfAPlugin:
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

    def test_its_own_loss_is_taken_and_has_the_options(self, answering):
        class Own(nn.Module):
            def __init__(self, options):
                super().__init__()
                self.options = options

        loss = answering(Own).loss("strange", rank=1, world_size=2, dist_impl="gather", temperature=3)
        assert type(loss) is Own
        assert loss.options == LossOptions(1, 2, dist_impl="gather", further={"temperature": 3})

    def test_none_leaves_it_to_the_core(self, answering):
        registry = answering(None)
        assert type(registry.loss("strange")) is ClipLoss
        assert type(registry.loss("strange", distill=True)) is DistillClipLoss

    def test_what_is_no_module_is_the_plugins_fault(self, answering):
        with pytest.raises(PluginError, match=r"build_loss with a builtin_function_or_method, expected a torch\.nn\.M"):
            answering(len).loss("strange")

    def test_a_hook_that_fails_is_the_plugins_fault(self, answering):
        class Failing(nn.Module):
            def __init__(self, options):
                raise ValueError(options.rank)

        with pytest.raises(PluginError, match="failed in its hook build_loss: ValueError"):
            answering(Failing).loss("strange")
