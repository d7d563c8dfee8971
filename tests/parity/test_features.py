"""The same weights give the same features."""

from __future__ import annotations

import copy

import pytest
import torch

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.parity

VISION = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 3}
TEXT = {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 32, "patch_size": None}
CLIPA = {
    "vision": {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
    "text": {"context_length": 8, "pool_type": "last", "no_causal_mask": True, "act_kwargs": {"approximate": "tanh"}},
}


def config(vision=None, text=None, **top):
    return {"embed_dim": 24, "vision_cfg": {**VISION, **(vision or {})}, "text_cfg": {**TEXT, **(text or {})}, **top}


VARIANTS = {
    "plain": config(),
    "quickgelu": config(quick_gelu=True),
    "clipa": config(CLIPA["vision"], CLIPA["text"]),
    "sin-cos": config({"pos_embed_type": "sin_cos_2d"}),
    "layer-scale": config({"ls_init_value": 0.5}, {"ls_init_value": 0.2}),
    "eos": config(text={"pool_type": "eos", "eos_id": 99}),
    "first": config(text={"pool_type": "first"}),
    "last": config(text={"pool_type": "last"}),
    "every-token": config({"pool_type": "none"}, {"pool_type": "none"}),
    "projection-bias": config(text={"proj_bias": True}),
    "no-projection": config(text={"proj_type": "none", "width": 24}),
    "average": config({"pool_type": "avg"}),
    "norm-after-pool": config({"final_ln_after_pool": True}),
    "norms-and-activation": config(
        {"norm_kwargs": {"eps": 1e-3}, "act_kwargs": {"approximate": "tanh"}}, {"norm_kwargs": {"eps": 1e-2}}
    ),
    "odd-mlp": config({"mlp_ratio": 2.7}, {"mlp_ratio": 3.3}),
    "not-square": config({"image_size": (16, 40), "patch_size": 8}),
    "patches-not-square": config({"patch_size": (4, 8)}),
    "uneven-grid": config({"image_size": 35}),
    "logit-bias": config(init_logit_bias=-10.0),
    "logit-vectors": config(init_logit_bias=-10.0, nonscalar_logit_scale=True, init_logit_scale=1.0),
    "patch-dropout": config({"patch_dropout": 0.5}),
    "resnet": {**config(), "vision_cfg": RESNET},
    "resnet-quickgelu": {**config(quick_gelu=True), "vision_cfg": {**RESNET, "layers": [2, 1, 2, 1], "head_width": 16}},
}

# The weights are changed so much that features differ by far more than this tolerance.
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def inputs(cfg, batch=3):
    size = cfg["vision_cfg"]["image_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    text = torch.randint(1, 99, (batch, cfg["text_cfg"]["context_length"]))
    text[torch.arange(batch), torch.arange(batch) + 3] = 99
    return torch.randn(batch, 3, height, width), text


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_variant(theirs, ours, name):
    cfg = VARIANTS[name]
    reference = theirs(cfg)
    model = ours(cfg, reference)
    image, text = inputs(cfg)
    for normalize in (False, True):
        expected = reference.encode_image(image, normalize=normalize)
        torch.testing.assert_close(model.encode_image(image, normalize=normalize), expected, **CLOSE)
        expected = reference.encode_text(text, normalize=normalize)
        torch.testing.assert_close(model.encode_text(text, normalize=normalize), expected, **CLOSE)
    torch.testing.assert_close(model(image, text), reference(image, text), **CLOSE)
    torch.testing.assert_close(model(image), reference(image), **CLOSE)
    torch.testing.assert_close(model(text=text), reference(text=text), **CLOSE)
    if "none" not in {cfg["text_cfg"].get("pool_type"), cfg["vision_cfg"].get("pool_type")}:
        torch.testing.assert_close(
            model.get_logits(image, text), reference.get_logits(image, text), atol=1e-3, rtol=1e-4
        )
    reference.output_dict = model.output_dict = True
    torch.testing.assert_close(model(image, text), reference(image, text), **CLOSE)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variants_names_order_shapes_and_dtypes(theirs, ours, name):
    reference = theirs(VARIANTS[name])
    state, expected = ours(VARIANTS[name], reference).state_dict(), reference.state_dict()
    assert list(state) == list(expected)
    assert {n: (t.shape, t.dtype) for n, t in state.items()} == {n: (t.shape, t.dtype) for n, t in expected.items()}


@torch.no_grad()
def test_variants_differ_by_more_than_the_tolerance(theirs):
    """The tolerance must be small enough to reveal an option that is ignored."""
    image, text = inputs(VARIANTS["plain"])
    plain = theirs(VARIANTS["plain"])
    for name in ("quickgelu", "average", "norms-and-activation"):
        other = theirs(VARIANTS[name])
        other.load_state_dict(plain.state_dict())
        assert (other.encode_image(image) - plain.encode_image(image)).abs().max() > 1e-3, name
    other = theirs(VARIANTS["eos"])
    other.load_state_dict(plain.state_dict())
    torch.testing.assert_close(other.encode_text(text), plain.encode_text(text))


@pytest.mark.parametrize("name", ["plain", "resnet"])
def test_gradients_in_training(theirs, ours, name):
    cfg = VARIANTS[name]
    reference = theirs(cfg)
    model = ours(cfg, reference).train()
    reference.train()
    image, text = inputs(cfg, batch=4)
    for each in (model, reference):
        each.get_logits(image, text)[0].log_softmax(dim=-1).diagonal().sum().backward()
    expected = dict(reference.named_parameters())
    for parameter_name, parameter in model.named_parameters():
        other = expected[parameter_name].grad
        scale = other.abs().max().item()
        torch.testing.assert_close(parameter.grad, other, atol=1e-3 * scale + 1e-6, rtol=1e-3, msg=parameter_name)
    torch.testing.assert_close(
        dict(model.named_buffers()), {n: b for n, b in reference.named_buffers() if n != "attn_mask"}
    )


LOW = {"fp16": torch.float16, "bf16": torch.bfloat16, "pure_fp16": torch.float16, "pure_bf16": torch.bfloat16}
# Relative distance of features; open_clip's own from its float32 features are of this size.
BOUNDS = {"fp16": 4e-3, "bf16": 4e-2, "pure_fp16": 8e-3, "pure_bf16": 6e-2}


def distance(got, expected):
    return ((got.float() - expected.float()).norm() / expected.float().norm()).item()


class TestPrecision:
    def reference(self, theirs, cfg, precision):
        from open_clip.factory import _set_model_device_and_precision

        model = theirs(cfg, 0.02, cast_dtype=LOW[precision] if precision in {"fp16", "bf16"} else None)
        exact = copy.deepcopy(model)
        _set_model_device_and_precision(model, torch.device("cpu"), precision)
        return model, exact

    @pytest.mark.parametrize("precision", ["fp16", "bf16", "pure_fp16", "pure_bf16", "amp", "fp32"])
    @pytest.mark.parametrize("name", ["plain", "clipa", "layer-scale", "logit-bias", "resnet"])
    def test_the_same_parameters_are_cast(self, theirs, ours, name, precision):
        reference, exact = self.reference(theirs, VARIANTS[name], precision)
        model = ours(VARIANTS[name], exact, precision=precision)
        expected = {n: (t.dtype, t) for n, t in reference.state_dict().items()}
        for parameter_name, tensor in model.state_dict().items():
            assert tensor.dtype == expected[parameter_name][0], parameter_name
            assert torch.equal(tensor, expected[parameter_name][1]), parameter_name

    @pytest.mark.parametrize("precision", LOW)
    @pytest.mark.parametrize("name", ["plain", "quickgelu", "clipa"])
    @torch.no_grad()
    def test_features_are_close(self, theirs, ours, name, precision):
        cfg = VARIANTS[name]
        reference, exact = self.reference(theirs, cfg, precision)
        model = ours(cfg, exact, precision=precision)
        image, text = inputs(cfg)
        low = image.to(LOW[precision])
        pairs = [
            (model.encode_image(low), reference.encode_image(low), exact.encode_image(image)),
            (model.encode_text(text), reference.encode_text(text), exact.encode_text(text)),
        ]
        for got, expected, wide in pairs:
            assert got.dtype == expected.dtype
            assert distance(got, expected) < BOUNDS[precision]
            assert distance(got, wide) < BOUNDS[precision]

    @pytest.mark.parametrize("precision", LOW)
    @torch.no_grad()
    def test_layer_scale_in_half_precision(self, theirs, ours, precision):
        """open_clip cannot run layer scale under fp16 and bf16, so the float32 features are the reference."""
        cfg = VARIANTS["layer-scale"]
        exact = theirs(cfg, 0.02)
        model = ours(cfg, exact, precision=precision)
        image, text = inputs(cfg)
        got = model.encode_image(image.to(LOW[precision]))
        assert got.dtype == LOW[precision]
        assert distance(got, exact.encode_image(image)) < BOUNDS[precision]
        assert distance(model.encode_text(text), exact.encode_text(text)) < BOUNDS[precision]


class TestResize:
    @pytest.mark.parametrize("image_size", [16, 48, 64, (16, 40), (40, 24)])
    @pytest.mark.parametrize("context_length", [8, 12, 20])
    def test_another_image_and_context(self, theirs, ours, tmp_path, image_size, context_length):
        cfg = config()
        source = theirs(cfg)
        torch.save(source.state_dict(), tmp_path / "source.pt")
        wanted = config({"image_size": image_size}, {"context_length": context_length})
        reference = open_clip.CLIP(**wanted).eval()
        open_clip.load_checkpoint(reference, str(tmp_path / "source.pt"))
        model = ours(cfg, source, image_size=image_size, context_length=context_length)
        for name, tensor in reference.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, atol=1e-6, rtol=1e-6, msg=name)
        image, text = inputs(wanted)
        with torch.no_grad():
            torch.testing.assert_close(model(image, text), reference(image, text), **CLOSE)

    @pytest.mark.parametrize("kind", ["prefixed", "scalar-to-vector", "no-bias"])
    def test_what_load_checkpoint_converts(self, theirs, tmp_path, registry, kind):
        """Prefixes from training, scales of another shape, a bias that was not trained."""
        cfg = {
            "prefixed": config(),
            "scalar-to-vector": config(nonscalar_logit_scale=True),
            "no-bias": config(init_logit_bias=-10.0),
        }[kind]
        state = theirs(config()).state_dict()
        if kind == "prefixed":
            state = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 1}
        torch.save(state, tmp_path / "given.pt")
        reference = open_clip.CLIP(**copy.deepcopy(cfg)).eval()
        open_clip.load_checkpoint(reference, str(tmp_path / "given.pt"))
        registry.add_config(cfg, "given")
        model = registry.create("given", tmp_path / "given.pt")
        torch.testing.assert_close(dict(model.state_dict()), dict(reference.state_dict()), atol=0, rtol=0)


@pytest.mark.large
@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-L-14-CLIPA", "ViT-M-16-alt", "ViT-B-16"])
@torch.no_grad()
def test_real_sizes(registry, theirs, tmp_path, name):
    cfg = open_clip.get_model_config(name)
    reference = theirs(
        cfg, 0.03
    )  # enough to wake what starts at nothing: layer scales, the last norms of ResNet blocks
    torch.save(reference.state_dict(), tmp_path / "real.pt")
    model = registry.create(name, tmp_path / "real.pt")
    size, length = cfg["vision_cfg"]["image_size"], cfg["text_cfg"].get("context_length", 77)
    image = torch.randn(2, 3, size, size) + torch.randn(2, 3, 1, 1)  # noise alone looks the same to a whole network
    text = torch.randint(1, cfg["text_cfg"].get("vocab_size", 49408), (2, length))
    features, expected = model(image, text), reference(image, text)
    assert (expected[0][0] - expected[0][1]).abs().max() > 1e-3
    for got, other in zip(features, expected, strict=True):
        torch.testing.assert_close(got, other, **CLOSE)
