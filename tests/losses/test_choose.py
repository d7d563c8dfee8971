"""registry.loss: the loss of a model, by its config and the caller's options.

tests/resolve/test_loss.py tests the losses of plugins.
"""

from __future__ import annotations

import pytest
from loss_models import SMALL
from loss_models import registry as small_models
from registry_plugins.coca.loss import CoCaLoss
from registry_plugins.daclip.loss import DaClipLoss

from registry_core import OverrideError
from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss


@pytest.fixture
def registry():
    return small_models()


def settings(loss):
    return {
        name: getattr(loss, name)
        for name in ("rank", "world_size", "local_loss", "gather_with_grad", "cache_labels", "dist_impl")
        if hasattr(loss, name)
    }


class TestChoice:
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

    def test_every_model_has_a_loss(self, registry):
        kinds = {
            "openai_clip": {ClipLoss},
            "custom_text_clip": {ClipLoss, SigLipLoss},
            "coca": {CoCaLoss},
            "daclip": {DaClipLoss},
        }
        for name in registry.list_models():
            config = registry.config(name)
            assert type(registry.loss(name)) in kinds[config.architecture], name

    def test_the_name_does_not_matter(self, registry):
        """A CLIP with the name of another architecture has a CLIP's loss, and a CoCa with any name has CoCa's."""
        registry.add_config(SMALL, "not-a-coca-siglip")
        registry.add_config(registry.config("coca").raw(), "plain")
        assert type(registry.loss("not-a-coca-siglip")) is ClipLoss
        assert type(registry.loss("plain")) is CoCaLoss

    @pytest.mark.parametrize("name", ["clip", "siglip", "coca", "daclip_base"])
    def test_a_created_model_has_the_loss_of_its_name(self, registry, name):
        model = registry.create(name, pretrained=False)
        assert type(registry.loss(model)) is type(registry.loss(name))

    def test_a_bias_from_the_caller_counts(self, registry):
        model = registry.create("clip", pretrained=False, init_logit_bias=-10.0)
        assert type(registry.loss(model)) is SigLipLoss

    def test_a_bias_of_zero_counts(self, registry):
        registry.add_config({**SMALL, "init_logit_bias": 0.0}, "zero")
        assert type(registry.loss("zero")) is SigLipLoss

    @pytest.mark.parametrize(("name", "kind"), [("clip", SigLipLoss), ("siglip", SigLipLoss)])
    def test_the_caller_can_choose_the_sigmoid_loss(self, registry, name, kind):
        assert type(registry.loss(name, sigmoid=True)) is kind
        assert type(registry.loss(name, sigmoid=False)) is ClipLoss

    @pytest.mark.parametrize("name", ["clip", "siglip"])
    def test_distillation(self, registry, name):
        assert type(registry.loss(name, distill=True)) is DistillClipLoss
        assert type(registry.loss(name, distill=True, sigmoid=False)) is DistillClipLoss


class TestOptions:
    @pytest.mark.parametrize("name", ["clip", "siglip", "coca", "daclip_base"])
    def test_are_passed_to_the_loss(self, registry, name):
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

    def test_the_default_exchange_is_the_first(self, registry):
        assert registry.loss("siglip", dist_impl=None).dist_impl == "bidir"

    def test_of_coca_itself(self, registry):
        loss = registry.loss("coca")
        assert (loss.caption_loss_weight, loss.clip_loss_weight, loss.caption_loss.ignore_index) == (2.0, 1.0, 0)
        loss = registry.loss("coca", caption_loss_weight=1, clip_loss_weight=0.5, pad_id=7)
        assert (loss.caption_loss_weight, loss.clip_loss_weight, loss.caption_loss.ignore_index) == (1, 0.5, 7)

    def test_cocas_padding_is_that_of_its_config(self, registry):
        registry.add_config({**registry.config("coca").raw(), "pad_id": 1}, "coca-1")
        assert registry.loss("coca-1").caption_loss.ignore_index == 1


class TestArgumentsThatTheLossDoesNotHave:
    @pytest.mark.parametrize(
        ("name", "given", "suggestion"),
        [
            ("coca", {"caption_los_weight": 1.0}, "caption_loss_weight"),
            ("coca", {"local_los": True}, "local_loss"),
            ("clip", {"local_los": True}, "local_loss"),
            ("siglip", {"dist_imp": "gather"}, "dist_impl"),
        ],
    )
    def test_similar_names_are_suggested(self, registry, name, given, suggestion):
        with pytest.raises(OverrideError) as caught:
            registry.loss(name, **given)
        assert caught.value.argument == next(iter(given))
        assert suggestion in caught.value.suggestions

    @pytest.mark.parametrize(
        ("name", "given", "loss", "own"),
        [
            ("coca", {"surely": 1}, "CoCaLoss", ["caption_loss_weight", "clip_loss_weight", "pad_id"]),
            ("clip", {"caption_loss_weight": 1.0}, "The contrastive loss", []),
            ("daclip_base", {"degra_loss_weight": 1.0}, "DaClipLoss", []),
        ],
    )
    def test_the_arguments_of_the_loss_are_named(self, registry, name, given, loss, own):
        with pytest.raises(OverrideError) as caught:
            registry.loss(name, **given)
        assert caught.value.argument == next(iter(given))
        assert (caught.value.name, caught.value.expected) == (loss, own)

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("pad_id", 0.5, "a whole number"),
            ("clip_loss_weight", "1", "a number"),
            ("clip_loss_weight", True, "a number"),
        ],
    )
    def test_values_have_the_type_of_the_default(self, registry, key, value, expected):
        with pytest.raises(OverrideError) as caught:
            registry.loss("coca", **{key: value})
        assert (caught.value.argument, caught.value.found, caught.value.expected) == (key, value, expected)
