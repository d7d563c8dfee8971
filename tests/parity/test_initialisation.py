"""Initial values: each parameter of a new model against open_clip's, by name, for every kind of tower.

The distributions must agree, single values need not. Constants must be equal. For random values the mean, standard
deviation and kurtosis (uniform or normal) are compared, with a tolerance of six standard errors. Each kind is built
with so many seeds that a standard deviation that is wrong by a fifth is detected in the smallest parameter.
"""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch

pytestmark = pytest.mark.parity

SEEDS, TIMM_SEEDS, EVA_SEEDS = 12, 20, 6
ENOUGH = 1090  # values: six standard errors of a deviation are a fifth of it then
VISION = {"image_size": 64, "patch_size": 8, "width": 128, "head_width": 32, "layers": 2}
TEXT = {"context_length": 16, "vocab_size": 300, "width": 96, "heads": 4, "layers": 2}
ROBERTA = {
    "model_type": "roberta", "vocab_size": 200, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "max_position_embeddings": 40, "type_vocab_size": 1, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip


def config(vision=None, text=None, **keys):
    towers = {"vision_cfg": {**VISION, **(vision or {})}, "text_cfg": {**TEXT, **(text or {})}}
    return {"embed_dim": 64, **towers, **keys}


def coca(vision=None, text=None, decoder=None, **keys):
    pooled = {"attentional_pool": True, "attn_pooler_queries": 40, "output_tokens": True}
    told = {"embed_cls": True, "output_tokens": True}
    small = {"context_length": 16, "vocab_size": 300, "width": 96, "heads": 4, "layers": 2, **(decoder or {})}
    towers = {**pooled, **(vision or {})}, {**told, **(text or {})}
    return config(*towers, multimodal_cfg=small, custom_text=True, embed_dim=96, **keys)


RESNET = {"image_size": 64, "layers": [2, 1, 1, 1], "width": 16, "head_width": 32, "patch_size": None}
CONFIGS = {
    "vit": config(),
    "resnet": {**config(embed_dim=96), "vision_cfg": RESNET},
    "layer scale": config({"ls_init_value": 0.1, "mlp_ratio": 3.0, "no_ln_pre": True}, {"ls_init_value": 0.3}),
    "biases": config(
        {"pos_embed_type": "sin_cos_2d", "pool_type": "avg", "final_ln_after_pool": True},
        {"proj_bias": True, "mlp_ratio": 2.0},
        init_logit_bias=-10.0,
        init_logit_scale=2.3,
        nonscalar_logit_scale=True,
    ),
    "parallel pools": config({"attentional_pool": "parallel", "attn_pooler_queries": 40}, embed_dim=128),
    "cascaded pools": config({"attentional_pool": "cascade", "attn_pooler_queries": 40}, embed_dim=128),
    "custom text": config(custom_text=True, init_logit_bias=-10.0),
    "class token": config({"attentional_pool": True, "attn_pooler_queries": 40}, {"embed_cls": True}, custom_text=True),
    "text biases": config({}, {"proj_bias": True, "pool_type": "last", "no_causal_mask": True}, custom_text=True),
    "no projection": config({}, {"proj_type": "none"}, custom_text=True, embed_dim=96),
    "coca": coca(),
    "coca, tokens of the tower": coca({"attentional_pool": False, "width": 96}),
    "coca, layer scale": coca({"ls_init_value": 0.1}, {"ls_init_value": 0.2}, {"ls_init_value": 0.3}),
}
TIMM = {
    "timm, token": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
    "timm, its own head": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None},
    "timm, map": {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": None},
    "timm, perceptron": {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "mlp"},
    "timm, attention": {"timm_model_name": "test_efficientnet", "timm_pool": "abs_attn", "timm_proj": ""},
    "timm, rotary attention": {"timm_model_name": "test_efficientnet", "timm_pool": "rot_attn", "timm_proj": "linear"},
    "timm, eva": {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token", "timm_proj": None},
}
for kind, tower in TIMM.items():
    vision = {"image_size": 224 if kind == "timm, eva" else 160, **tower}
    small = {"layers": 1, "vocab_size": 50, "width": 192 if kind == "timm, eva" else 96}
    CONFIGS[kind] = {**config(text=small, custom_text=True), "vision_cfg": vision}


def build_theirs(raw):
    import open_clip

    raw = copy.deepcopy(raw)
    kind = open_clip.CustomTextCLIP if raw.pop("custom_text", False) else open_clip.CLIP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (open_clip.CoCa if "multimodal_cfg" in raw else kind)(**raw)


def samples(make, first_seed, seeds):
    """Each entry of the state dict in float64, with one row for each of `seeds` models."""
    states = []
    for seed in range(first_seed, first_seed + seeds):
        torch.manual_seed(seed)
        states.append({name: tensor.double().flatten() for name, tensor in make().state_dict().items()})
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def differing(ours, theirs):
    complaints = {name: compare(tensor, theirs[name]) for name, tensor in ours.items()}
    return {name: complaint for name, complaint in complaints.items() if complaint}


# Parameters that open_clip leaves uninitialised.
UNINITIALISED = {"text_decoder.text_projection"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_parameter_is_distributed_as_open_clips(registry, kind):
    raw = CONFIGS[kind]
    registry.add_config(raw, "fresh")
    seeds = EVA_SEEDS if "eva" in kind else TIMM_SEEDS if "timm" in kind else SEEDS
    ours = samples(lambda: registry.create("fresh", False), 1, seeds)
    theirs = samples(lambda: build_theirs(raw), 1000, seeds)
    assert ours.keys() == theirs.keys()
    compared = {name: tensor for name, tensor in ours.items() if name not in UNINITIALISED}
    assert not differing(compared, theirs)


def test_what_open_clip_leaves_uninitialised_is_initialised_here(registry):
    registry.add_config(CONFIGS["coca"], "fresh")
    ours = samples(lambda: registry.create("fresh", False), 1, 2)["text_decoder.text_projection"]
    assert not compare(ours, torch.randn_like(ours) * 96**-0.5)


def test_a_text_tower_of_transformers(registry, tmp_path):
    pytest.importorskip("transformers")
    folder = tmp_path / "roberta"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**ROBERTA, "architectures": ["RobertaModel"]}))
    text = {"hf_model_name": str(folder), "hf_proj_type": "mlp", "hf_model_pretrained": False}
    raw = {**config(custom_text=True), "text_cfg": text}
    registry.add_config({**raw, "text_cfg": {**text, "hf_model_config": ROBERTA}}, "fresh")
    ours = samples(lambda: registry.create("fresh", False), 1, SEEDS)
    theirs = samples(lambda: build_theirs(raw), 1000, SEEDS)
    shared = ours.keys() & theirs.keys()
    assert ours.keys() == shared
    assert all("position_ids" in name for name in theirs.keys() - shared)
    assert not differing(ours, theirs)


def compare(got, expected):
    """Describe how samples [seeds, values] differ by more than chance. Empty if they do not."""
    constant = [bool((sample == sample[:1]).all()) for sample in (got, expected)]
    if all(constant) and torch.allclose(got, expected, atol=1e-6):  # constants, and computed values
        return ""
    if any(constant):
        return f"constant {expected[0, 0]} or {got[0, 0]}"
    assert got.numel() >= ENOUGH, "more seeds are needed"
    # Once in 2**24 draws timm's truncated normal returns its bound, a hundred standard deviations away.
    edge = 8 * expected.sub(expected.mean()).abs().median() / 0.6745
    got, expected = (x.clamp(expected.mean() - edge, expected.mean() + edge) for x in (got, expected))
    count, mean, std = got.numel(), expected.mean(), expected.std()
    peaks = [((x - x.mean()) ** 4).mean() / x.var() ** 2 for x in (got, expected)]
    found = {
        f"mean {got.mean():.5f}, expected {mean:.5f}": (got.mean() - mean).abs() > 6 * std * (2 / count) ** 0.5,
        f"deviation {got.std():.5f}, expected {std:.5f}": (got.std() / std).log().abs() > 6 * (1 / count) ** 0.5,
        f"kurtosis {peaks[0]:.2f}, expected {peaks[1]:.2f}": (peaks[0] - peaks[1]).abs() > 6 * (48 / count) ** 0.5,
    }
    return "; ".join(what for what, differs in found.items() if differs)


def test_the_comparison_distinguishes_distributions():
    torch.manual_seed(0)
    normal, other = torch.randn(2, SEEDS, ENOUGH // SEEDS + 1).double()
    uniform = (torch.rand(normal.shape).double() - 0.5) * 12**0.5
    assert compare(normal, other) == ""
    assert "kurtosis" in compare(uniform, normal)
    assert "deviation" in compare(normal * 1.2, other)
    assert "mean" in compare(normal + 0.3, other)
    assert "constant" in compare(torch.zeros(SEEDS, 9), torch.ones(SEEDS, 9))
    assert "constant" in compare(torch.zeros(SEEDS, 9), torch.randn(SEEDS, 9))
    assert "constant" in compare(torch.zeros(SEEDS, 1), torch.ones(SEEDS, 1))
    assert compare(torch.ones(SEEDS, 1), torch.ones(SEEDS, 1)) == ""
