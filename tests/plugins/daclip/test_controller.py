"""The control tower: its initial state changes nothing, and its controls reach the right blocks."""

from __future__ import annotations

import pytest
import torch

from registry_core import BuildError, ConfigError


@torch.no_grad()
def shake(model, std=0.1):
    """Move every parameter, since zeros and ones hide mistakes."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * std)
    return model


@pytest.mark.parametrize("pretrained", ["file", False])
def test_a_fresh_controller_adds_exactly_nothing(registry, golden, image, pretrained):
    model = registry.create("daclip_tiny", golden / "daclip_tiny_clip.pt" if pretrained else False)
    with torch.no_grad():
        features, degradation = model.encode_image(image, control=True)
        assert torch.equal(features, model.encode_image(image))
        # The control tower is a copy of the image tower, so both give the same features.
        assert torch.equal(degradation, features)


def test_a_trained_controller_adds_something(full, image):
    with torch.no_grad():
        features, degradation = full.encode_image(image, control=True)
        assert (features - full.encode_image(image)).abs().max() > 0.1
        assert (features - degradation).abs().max() > 0.1


def test_initial_controller_copies_every_parameter_by_name(registry):
    model = shake(registry.create("daclip_tiny", False))
    model.initial_controller()
    control = dict(model.visual_control.named_parameters())
    copied = set()
    for name, parameter in model.visual.named_parameters():
        own = name.replace("transformer.", "transformer.transformer.", 1)
        assert torch.equal(control[own], parameter), name
        assert control[own] is not parameter
        copied.add(own)
    assert {"ln_post.weight", "ln_post.bias", "proj", "transformer.transformer.resblocks.2.mlp.c_proj.bias"} <= copied
    zeroed = set(control) - copied
    assert zeroed == {f"transformer.zero_modules.{i}.{part}" for i in range(3) for part in ("weight", "bias")}
    assert not any(control[name].any() for name in zeroed)
    assert torch.equal(model.logit_scale, model.clip.logit_scale)


def test_initial_controller_keeps_the_image_features_of_shaken_weights(registry, image):
    model = shake(registry.create("daclip_tiny", False))
    with torch.no_grad():
        assert not torch.equal(model.encode_image(image, control=True)[0], model.encode_image(image))
        model.initial_controller()
        assert torch.equal(model.encode_image(image, control=True)[0], model.encode_image(image))


@pytest.mark.parametrize("flipped", [False, True])
def test_the_last_control_goes_to_the_first_block(full, image, golden_meta, flipped):
    with torch.no_grad():
        degradation, controls = full.visual_control(image)
        tokens = full.visual.embed(image)
        for index, control in enumerate(controls if flipped else controls[::-1]):
            tokens = full.visual.transformer.run_block(index, tokens) + control
        by_hand = full.visual.head(tokens)[0]
        features, own_degradation = full.encode_image(image, control=True)
    assert torch.equal(own_degradation, degradation)
    assert torch.allclose(by_hand, features, atol=1e-6) is not flipped
    if flipped:
        assert (by_hand - features).abs().max() > golden_meta["wrong_order_effect"] / 10


def test_controls_are_a_list_with_one_for_each_block_first_to_last(full, image):
    with torch.no_grad():
        _, controls = full.visual_control(image)
        last = full.visual_control.transformer.transformer(full.visual_control.embed(image))
    assert [list(control.shape) for control in controls] == [[2, 17, 64]] * 3
    torch.testing.assert_close(controls[-1], full.visual_control.transformer.zero_modules[-1](last))


def test_a_resnet_base_is_refused_by_name(registry):
    message = (
        r"daclip_tiny-rn cannot be built: .* native ViT image tower, but .* ModifiedResNet.*list_models\('daclip_\*'\)"
    )
    with pytest.raises(ConfigError, match=message) as caught:
        registry.create("daclip_tiny-rn", False)
    assert caught.value.name == "daclip_tiny-rn"


def test_a_base_module_without_a_vit_is_refused(registry):
    model = registry.create("daclip_tiny", False)
    base = registry.create("tiny-rn", False)
    message = r"needs a base model whose image tower is a VisionTransformer, got ModifiedResNet\. Nothing was built"
    with pytest.raises(BuildError, match=message) as caught:
        type(model)(base, model.config)
    assert (caught.value.expected, caught.value.found) == ("VisionTransformer", "ModifiedResNet")
