"""Every model of open_clip has the same parameter names, shapes and order here, and each tower the same features."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from transformers_configs import M2M, MT5, ROBERTA

from registry_core import Registry
from registry_core.towers.hf_text import known_shapes

pytestmark = pytest.mark.parity

NAMES = [name for name in Registry().list_models() if not name.startswith("daclip_")]
TEXT = {"context_length": 16, "vocab_size": 200, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture(autouse=True)
def _shapes_without_a_hub(monkeypatch):
    """open_clip downloads transformers configs from the hub; here it gets the shapes that we use."""
    import open_clip.hf_model
    import transformers

    shapes = {**known_shapes(), "tiny-roberta": ROBERTA, "tiny-mt5": MT5, "tiny-m2m": M2M}

    class LocalConfigs:
        @staticmethod
        def from_pretrained(name):
            fields = dict(shapes[name])
            return transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)

    monkeypatch.setattr(open_clip.hf_model, "AutoConfig", LocalConfigs)


def original(config):
    """open_clip's model of a config."""
    import open_clip

    config = copy.deepcopy(config)
    text = config["text_cfg"]
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
        text.pop("hf_model_config", None)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**config)


def described(model):
    return [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()]


def test_every_model_is_listed():
    import open_clip

    assert sorted(NAMES) == sorted(open_clip.list_models())


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_order_are_the_same(name):
    import open_clip

    with torch.device("meta"):
        theirs = original(open_clip.get_model_config(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = Registry().create(name, device="meta")
    assert described(ours) == described(theirs)


def timm(name, size=224, **keys):
    return {"timm_model_name": name, "timm_model_pretrained": False, "image_size": size, **keys}


CUSTOM = {
    "convnext, linear": {"vision_cfg": timm("convnext_atto", timm_pool="", timm_proj="linear", timm_drop_path=0.1)},
    "convnext, mlp": {"vision_cfg": timm("convnext_atto", timm_pool="avg", timm_proj="mlp", timm_proj_bias=True)},
    "resnet, rot_attn": {"vision_cfg": timm("resnet18", timm_pool="rot_attn", timm_proj="")},
    "resnet, abs_attn": {"vision_cfg": timm("resnet18", timm_pool="abs_attn", timm_proj="linear")},
    "mobileclip": {"vision_cfg": timm("fastvit_t8", 256, timm_pool="avg", timm_proj=None)},
    "vitamin": {"vision_cfg": timm("vitamin_small_224", timm_pool="", timm_proj="linear")},
    "eva": {"vision_cfg": timm("eva02_tiny_patch14_224", timm_pool="token", timm_proj=None)},
    "pe": {"vision_cfg": timm("vit_pe_core_tiny_patch16_384", 384, timm_pool="map", timm_proj=None)},
    "relpos": {"vision_cfg": timm("vit_relpos_small_patch16_224", timm_pool="", timm_proj="linear")},
    "gap": {"vision_cfg": timm("vit_little_patch16_reg1_gap_256", 256, timm_pool="", timm_proj="linear")},
    "swin": {"vision_cfg": timm("swin_tiny_patch4_window7_224", timm_pool="", timm_proj="linear")},
}
TEXTS = {
    "roberta": {"hf_model_name": "tiny-roberta", "hf_model_config": ROBERTA, "hf_proj_type": "mlp"},
    "roberta, cls": {"hf_model_name": "tiny-roberta", "hf_model_config": ROBERTA, "hf_pooler_type": "cls_pooler"},
    "mt5": {"hf_model_name": "tiny-mt5", "hf_model_config": MT5, "hf_pooler_type": "mean_pooler"},
    "nllb": {
        "hf_model_name": "tiny-m2m",
        "hf_model_config": M2M,
        "hf_proj_type": "linear",
        "hf_pooler_type": "cls_pooler",
    },
}


def same_features(config, tmp_path, name="same"):
    torch.manual_seed(0)
    theirs = original(config).eval()
    with torch.no_grad():
        for buffer_name, buffer in theirs.named_buffers():
            if buffer_name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    torch.save(theirs.state_dict(), tmp_path / "same.pt")
    registry = Registry()
    if name == "same":
        registry.add_config(config, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = registry.create(name, tmp_path / "same.pt")
    height, width = ours.config.image_size
    images = torch.randn(2, 3, height, width)
    texts = torch.randint(3, ours.vocab_size, (2, ours.context_length))
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images), atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(ours.encode_text(texts), theirs.encode_text(texts), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", CUSTOM)
def test_features_of_timm_towers(kind, tmp_path):
    same_features({"embed_dim": 24, "text_cfg": TEXT, "custom_text": True, **CUSTOM[kind]}, tmp_path)


@pytest.mark.parametrize("kind", ["convnext, linear", "swin"])
def test_features_of_plain_clip_with_a_timm_tower(kind, tmp_path):
    same_features({"embed_dim": 24, "text_cfg": TEXT, **CUSTOM[kind]}, tmp_path)


@pytest.mark.parametrize("kind", TEXTS)
def test_features_of_transformers_towers(kind, tmp_path):
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, **TEXTS[kind]}
    same_features({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, tmp_path)


def test_features_of_a_siglip_text_tower(tmp_path):
    text = {
        **TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    }  # fmt: skip
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, "custom_text": True, "init_logit_bias": -10.0}
    same_features(config, tmp_path)


@pytest.mark.large
@pytest.mark.parametrize(
    "name",
    ["ViT-B-16-SigLIP", "EVA02-B-16", "MobileCLIP-S1", "MobileCLIP-B", "ViTamin-S", "PE-Core-T-16-384",
     "convnext_base", "swin_base_patch4_window7_224", "vit_medium_patch16_gap_256", "xlm-roberta-base-ViT-B-32",
     "nllb-clip-base"],
)  # fmt: skip
def test_features_at_real_size(name, tmp_path):
    import open_clip

    same_features(open_clip.get_model_config(name), tmp_path, name)


@pytest.mark.large
def test_big_vision_archives_load_as_open_clip_loads_them(tmp_path):
    import numpy as np
    import open_clip
    from open_clip.convert import load_big_vision_weights

    arrays = big_vision_arrays()
    np.savez(tmp_path / "siglip.npz", **arrays)
    theirs = open_clip.create_model("ViT-B-16-SigLIP")
    load_big_vision_weights(theirs, str(tmp_path / "siglip.npz"))
    registry = Registry()
    for stacked in (False, True):
        if stacked:
            np.savez(tmp_path / "siglip.npz", **stack(arrays))
        ours = registry.create("ViT-B-16-SigLIP", tmp_path / "siglip.npz").state_dict()
        expected = theirs.state_dict()
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[name], expected[name]) for name in ours)


def big_vision_arrays(width=768, heads=12, hidden=3072, layers=12):
    """Random arrays with the names and shapes of a SigLIP B/16 of big_vision."""
    import numpy as np

    random = np.random.default_rng(0)

    def draw(*shape):
        return (random.standard_normal(shape) * 0.02).astype("float32")

    def norm(name):
        return {f"{name}/scale": draw(width), f"{name}/bias": draw(width)}

    def block(name, *, with_first_norm=True):
        attention, mlp = f"{name}/MultiHeadDotProductAttention_0", f"{name}/MlpBlock_0"
        arrays = {}
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = draw(width, heads, width // heads)
            arrays[f"{attention}/{part}/bias"] = draw(heads, width // heads)
        arrays[f"{attention}/out/kernel"], arrays[f"{attention}/out/bias"] = (
            draw(heads, width // heads, width),
            draw(width),
        )
        arrays[f"{mlp}/Dense_0/kernel"], arrays[f"{mlp}/Dense_0/bias"] = draw(width, hidden), draw(hidden)
        arrays[f"{mlp}/Dense_1/kernel"], arrays[f"{mlp}/Dense_1/bias"] = draw(hidden, width), draw(width)
        arrays |= norm(f"{name}/LayerNorm_0")
        return arrays | (norm(f"{name}/LayerNorm_1") if with_first_norm else {})

    img, txt = "params/img", "params/txt"
    arrays = {
        f"{img}/embedding/kernel": draw(16, 16, 3, width),
        f"{img}/embedding/bias": draw(width),
        f"{img}/pos_embedding": draw(1, 196, width),
        f"{img}/MAPHead_0/probe": draw(1, 1, width),
        f"{txt}/Embed_0/embedding": draw(32000, width),
        f"{txt}/pos_embedding": draw(1, 64, width),
        f"{txt}/head/kernel": draw(width, width),
        f"{txt}/head/bias": draw(width),
        "params/t": draw(1),
        "params/b": draw(1),
    }
    arrays |= norm(f"{img}/Transformer/encoder_norm") | norm(f"{txt}/Encoder_0/encoder_norm")
    arrays |= block(f"{img}/MAPHead_0", with_first_norm=False)
    for layer in range(layers):
        arrays |= block(f"{img}/Transformer/encoderblock_{layer}") | block(f"{txt}/Encoder_0/encoderblock_{layer}")
    return arrays


def stack(arrays, layers=12):
    """The arrays as a program that scans over its layers writes them."""
    import numpy as np

    stacked = {name: array for name, array in arrays.items() if "encoderblock_" not in name}
    for name in [name for name in arrays if "encoderblock_0/" in name]:
        layer = [arrays[name.replace("encoderblock_0", f"encoderblock_{number}")] for number in range(layers)]
        stacked[name.replace("encoderblock_0", "encoderblock")] = np.stack(layer)
    return stacked


def test_mobileclip_layout_is_read_as_open_clip_reads_it(tmp_path):
    """Compare with open_clip's own conversion of FastViT and text names, on a small model of the family."""
    from open_clip.convert import convert_mobile_clip_state_dict

    config = {
        "embed_dim": 24,
        "vision_cfg": timm("fastvit_t8", 256, timm_pool="avg", timm_proj=None),
        "text_cfg": {**TEXT, "no_causal_mask": True},
        "custom_text": True,
    }
    model = original(config)
    published = mobileclip_names(model.state_dict())
    torch.save(published, tmp_path / "mobileclip.pt")
    expected = convert_mobile_clip_state_dict(model, dict(published))
    registry = Registry()
    registry.add_config(config, "small")
    ours = registry.create("small", tmp_path / "mobileclip.pt", strict=False)
    report = registry.report(ours)
    assert report.kind == "MobileCLIP, in its own layout"
    assert not report.unexpected
    assert not report.misshaped
    assert set(report.loaded) == set(expected) & set(ours.state_dict())
    for name in report.loaded:
        assert torch.equal(ours.state_dict()[name], expected[name].reshape(ours.state_dict()[name].shape)), name


def mobileclip_names(state):
    """The tensors of a model under MobileCLIP's published names: stem, blocks of the first stage, head and text."""
    import re

    image = [
        (r"^stem\.", "patch_embed."), (r"conv_kxk", "rbr_conv"), (r"conv_scale", "rbr_scale"),
        (r"identity", "rbr_skip"), (r"final_conv", "conv_exp"), (r"^stages\.0\.blocks\.", "network.0."),
        (r"layer_scale\.gamma$", "layer_scale"), (r"\.mlp\.", ".convffn."),
    ]  # fmt: skip
    text = [
        (r"^transformer\.resblocks\.", "transformer."), (r"^text_projection", "projection_layer"),
        (r"^token_embedding", "embedding_layer"), (r"^ln_final", "final_layer_norm"),
        (r"\.ln_1", ".pre_norm_mha.0"), (r"\.attn\.in_proj_", ".pre_norm_mha.1.qkv_proj."),
        (r"\.attn\.out_proj", ".pre_norm_mha.1.out_proj"), (r"\.ln_2", ".pre_norm_ffn.0"),
        (r"\.mlp\.c_fc", ".pre_norm_ffn.1"), (r"\.mlp\.c_proj", ".pre_norm_ffn.4"),
        (r"^positional_embedding$", "positional_embedding.pos_embed.pos_embed"),
    ]  # fmt: skip
    published = {"logit_scale": state["logit_scale"]}
    for name, tensor in state.items():
        first, _, rest = name.partition(".")
        if first == "text":
            for ours, theirs in text:
                rest = re.sub(ours, theirs, rest)
            own = tensor[None, None] if rest.startswith("positional") else tensor
            published[f"text_encoder.{rest}"] = own.contiguous()
        elif first == "visual":
            rest = rest.removeprefix("trunk.")
            if rest.startswith(("stem.", "stages.0.blocks.", "final_conv.")):
                for ours, theirs in image:
                    rest = re.sub(ours, theirs, rest)
                published[f"image_encoder.model.{rest}"] = tensor
            elif rest == "head.fc.weight":
                published["image_encoder.model.head.proj"] = tensor.T.contiguous()
    return published


@torch.no_grad()
def test_an_image_tower_in_timms_own_layout(tmp_path):
    import timm as library

    theirs = library.create_model("vit_tiny_patch16_224", pre_norm=True, num_classes=24, norm_layer=_norm).eval()
    for parameter in theirs.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    theirs.head.bias.zero_()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "head.bias"}
    torch.save(state, tmp_path / "timm.pt")
    vision = {"image_size": 224, "layers": 12, "width": 192, "head_width": 64, "patch_size": 16}
    registry = Registry()
    registry.add_config({"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}, "tiny-vit")
    ours = registry.create("tiny-vit", False, image_weights=tmp_path / "timm.pt")
    assert "layout of timm" in "\n".join(registry.report(ours).notes)
    image = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(ours.encode_image(image), theirs(image), atol=2e-5, rtol=2e-5)


def _norm(width, **keys):
    return torch.nn.LayerNorm(width, eps=1e-5)


@torch.no_grad()
def test_a_timm_tower_for_another_image_size(tmp_path):
    from timm.layers import resample_abs_pos_embed

    config = {
        "embed_dim": 24,
        "vision_cfg": timm("vit_tiny_patch16_224", timm_pool="token", timm_proj=None),
        "text_cfg": TEXT,
        "custom_text": True,
    }
    theirs = original(config)
    torch.save(theirs.state_dict(), tmp_path / "small.pt")
    registry = Registry()
    registry.add_config(config, "small")
    ours = registry.create("small", tmp_path / "small.pt", image_size=160)
    expected = resample_abs_pos_embed(theirs.visual.trunk.pos_embed, [10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(ours.visual.trunk.pos_embed, expected, atol=1e-6, rtol=1e-6)
    assert registry.report(ours).adapted["visual.trunk.pos_embed"] == "resized 14x14 -> 10x10, bicubic"
    assert ours.encode_image(torch.randn(1, 3, 160, 160)).shape == (1, 24)


@pytest.mark.parametrize("freeze_layer_norm", [True, False])
@pytest.mark.parametrize("unlocked", [0, 1, 2, 3])
def test_locking_a_tower_of_transformers(unlocked, freeze_layer_norm):
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": {**TEXTS["roberta"], "context_length": 16}}
    registry = Registry()
    registry.add_config(config, "roberta")
    models = registry.create("roberta", False), original(config)
    for model in models:
        model.lock_text_tower(unlocked, freeze_layer_norm)
    ours, theirs = ({n for n, p in model.named_parameters() if p.requires_grad} for model in models)
    assert ours == theirs


def test_the_default_pooler_of_a_bert_has_no_layer_of_its_own(tmp_path, monkeypatch):
    import open_clip.hf_model

    shape = {**ROBERTA, "model_type": "bert"}
    own = type("Configs", (), {"from_pretrained": staticmethod(lambda _: transformers_config(shape))})
    monkeypatch.setattr(open_clip.hf_model, "AutoConfig", own)
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"hf_model_name": "tiny-bert", "hf_model_config": shape, "hf_pooler_type": None, "context_length": 16}
    same_features({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, tmp_path)


def transformers_config(shape):
    import transformers

    fields = dict(shape)
    return transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
@torch.no_grad()
def test_another_size_for_an_existing_timm_tower(name, tmp_path):
    import numpy as np

    config = {"embed_dim": 24, "vision_cfg": timm(name), "text_cfg": TEXT, "custom_text": True}
    registry = Registry()
    registry.add_config(config, "mine")
    theirs, ours = original(config).eval(), registry.create("mine", False)
    theirs.load_state_dict(ours.state_dict())
    for size in (96, (64, 128), [64, 64], np.int64(48)):
        ours.visual.set_input_size(size)
        theirs.visual.set_input_size(int(size) if isinstance(size, np.int64) else size)
        assert ours.visual.image_size == tuple(map(int, size if isinstance(size, (tuple, list)) else (size, size)))
        image = torch.randn(1, 3, *ours.visual.image_size)
        torch.testing.assert_close(ours.encode_image(image), theirs.encode_image(image), atol=2e-5, rtol=2e-5)
