"""Tests of what is special about an Alpha-CLIP."""

from __future__ import annotations

import pytest
import torch
from alpha_clip.model import normalize_alpha
from torch.nn import functional as F

from registry_core import ConfigError, InputError, Registry, StateDictError

BASE = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def registry():
    registry = Registry()
    registry.add_config(BASE, "base")
    return registry


@pytest.fixture
def base(registry):
    torch.manual_seed(0)
    return registry.create("base", pretrained=False)


@pytest.fixture
def trained(registry):
    """A model whose alpha channel is not zero."""
    torch.manual_seed(1)
    model = registry.create("alphaclip_base", pretrained=False)
    torch.nn.init.normal_(model.visual.conv1_alpha.weight, std=0.1)
    return model


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def alpha():
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, :16, :16] = 1
    return normalize_alpha(mask)


def save(state, path):
    torch.save(state, path)
    return path


class TestNames:
    def test_every_plain_clip_with_a_vit_has_one(self, registry):
        names = {*registry.list_models("alphaclip_*")}
        assert {"alphaclip_ViT-B-16", "alphaclip_ViT-L-14", "alphaclip_base"} <= names
        assert "alphaclip_RN50" not in names

    def test_a_resnet_is_refused(self, registry):
        message = r"alphaclip_RN50 cannot be built: .* native ViT .* the base has ModifiedResNet.*list_models"
        with pytest.raises(ConfigError, match=message) as caught:
            registry.config("alphaclip_RN50")
        assert caught.value.name == "alphaclip_RN50"

    def test_the_tags_are_the_bases(self, registry):
        assert registry.list_pretrained("alphaclip_ViT-B-16")
        assert registry.explain("alphaclip_ViT-B-16", "openai").weights == "tag 'openai'"


class TestStartingFromAPlainClip:
    @pytest.fixture
    def model(self, registry, base, tmp_path):
        return registry.create("alphaclip_base", save(base.state_dict(), tmp_path / "base.pt"))

    def test_the_channel_is_zero_and_the_report_names_it(self, registry, model):
        assert not model.visual.conv1_alpha.weight.any()
        report = registry.report(model)
        assert (report.kind, report.left_to_owner) == ("plain CLIP", ["visual.conv1_alpha.weight"])

    def test_no_alpha_changes_a_feature(self, model, base, images, alpha):
        for given in (None, alpha, -alpha):
            assert torch.equal(model.encode_image(images, given), base.encode_image(images))

    def test_the_channel_learns(self, model, images, alpha):
        model.encode_image(images, alpha).square().sum().backward()
        assert model.visual.conv1_alpha.weight.grad.any()


class TestAlpha:
    def test_is_one_more_input_channel_of_the_patch_embedding(self, trained, images, alpha):
        visual = trained.visual
        weight = torch.cat([visual.conv1.weight, visual.conv1_alpha.weight], dim=1)
        patches = F.conv2d(torch.cat([images, alpha], dim=1), weight, stride=16).flatten(2).transpose(1, 2)
        torch.testing.assert_close(visual.embed(images, alpha), visual.to_tokens(patches))

    def test_changes_the_feature(self, trained, images, alpha):
        assert not torch.allclose(trained.encode_image(images, alpha), trained.encode_image(images))

    def test_none_means_the_whole_image(self, trained, images):
        whole = normalize_alpha(torch.ones(2, 1, 32, 32))
        assert torch.equal(trained.encode_image(images), trained.encode_image(images, whole))

    def test_goes_through_forward(self, trained, images, alpha):
        features, texts, scale = trained(images, None, alpha)
        assert texts is None
        assert torch.equal(features, trained.encode_image(images, alpha, normalize=True))
        assert torch.equal(scale, trained.logit_scale.exp())

    def test_of_another_size_is_refused(self, trained, images):
        message = r"one channel, \[2, 1, 32, 32\], got \[2, 3, 32, 32\]\. normalize_alpha\(mask\)"
        with pytest.raises(InputError, match=message) as caught:
            trained.encode_image(images, images)
        assert (caught.value.argument, caught.value.found) == ("alpha", [2, 3, 32, 32])


class TestThePublishedLayout:
    @pytest.fixture
    def published(self, trained, tmp_path):
        """The image tower alone, with the projection of its attention in a Linear."""
        state = {name.replace("in_proj_", "in_proj."): t for name, t in trained.visual.state_dict().items()}
        assert "transformer.resblocks.1.attn.in_proj.weight" in state
        return save(state, tmp_path / "clip_b16_grit1m.pth")

    def test_is_loaded_as_the_image_tower(self, registry, trained, published, images, alpha):
        model = registry.create("alphaclip_base", published, tower="image")
        assert registry.report(model).kind == "image tower of an Alpha-CLIP"
        assert torch.equal(model.encode_image(images, alpha), trained.encode_image(images, alpha))
        assert model.logit_scale.item() == pytest.approx(model.config.init_logit_scale)

    def test_is_refused_for_the_whole_model(self, registry, published):
        with pytest.raises(StateDictError) as caught:
            registry.create("alphaclip_base", published)
        assert {"positional_embedding", "text_projection"} <= set(caught.value.missing)

    def test_a_whole_model_keeps_its_channel(self, registry, trained, tmp_path, images, alpha):
        model = registry.create("alphaclip_base", save(trained.state_dict(), tmp_path / "whole.pt"))
        assert (registry.report(model).kind, registry.report(model).left_to_owner) == ("Alpha-CLIP", [])
        assert torch.equal(model.encode_image(images, alpha), trained.encode_image(images, alpha))
