"""The same weights in open_clip's CoCa and in ours."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch

pytestmark = pytest.mark.parity


@pytest.fixture
def theirs():
    """Makes open_clip's model of a raw config."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_clip = pytest.importorskip("open_clip")

    def make(config):
        torch.manual_seed(0)
        config = copy.deepcopy(config)
        del config["custom_text"]
        model = open_clip.CoCa(**config)
        with torch.no_grad():
            for parameter in model.parameters():  # some are left unwritten there
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
        return model.eval()

    return make


VARIANTS = [
    {},
    {"quick_gelu": True},
    {"init_logit_bias": -2.0, "nonscalar_logit_scale": True},
    {"vision_cfg": {"attentional_pool": False, "width": 24, "head_width": 8}},
    {"vision_cfg": {"pool_type": "avg"}},
    {"vision_cfg": {"ls_init_value": 0.1, "no_ln_pre": True}},
    {"text_cfg": {"embed_cls": False}},
    {"text_cfg": {"embed_cls": False, "pool_type": "last", "no_causal_mask": True}},
    {"text_cfg": {"no_causal_mask": True}},
    {"text_cfg": {"proj_bias": True, "pad_id": 3}},
    {"multimodal_cfg": {"ls_init_value": 0.2, "heads": 2}},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@torch.no_grad()
def test_all_outputs_agree(registry, config, theirs, changes, tmp_path):
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    original = theirs(config)
    torch.save(original.state_dict(), tmp_path / "same.pt")
    registry.add_config(config, "same")
    model = registry.create("same", tmp_path / "same.pt")
    assert list(model.state_dict()) == list(original.state_dict())
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in original.named_parameters()]
    image, text = torch.randn(3, 3, 32, 32), torch.randint(0, 40, (3, 12))
    text[0, 5:] = 0
    for options in ({}, {"output_labels": False}):
        expected, found = original(image, text, **options), model(image, text, **options)
        assert list(found) == list(expected)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    if config["text_cfg"].get("embed_cls"):  # else open_clip takes texts of the full length alone
        short = text[:, :7]
        torch.testing.assert_close(model.encode_text(short), original.encode_text(short), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(model(image), original(image), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["parallel", "cascade"])
@torch.no_grad()
def test_poolers_of_their_own_agree(registry, config, theirs, kind, tmp_path):
    """open_clip leaves a dimension of one in the feature there; ours has the shape of all others."""
    config["vision_cfg"].update(attentional_pool=kind, width=24, head_width=8)
    original = theirs(config)
    torch.save(original.state_dict(), tmp_path / "same.pt")
    registry.add_config(config, "same")
    model = registry.create("same", tmp_path / "same.pt")
    image = torch.randn(3, 3, 32, 32)
    expected, found = original(image), model(image)
    torch.testing.assert_close(found["image_features"], expected["image_features"][:, 0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found["image_embs"], expected["image_embs"], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_transformers_text_tower_agrees(registry, config, theirs, tmp_path):
    shape = {
        "model_type": "roberta", "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 32, "max_position_embeddings": 30, "type_vocab_size": 1, "pad_token_id": 1,
        "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    folder = tmp_path / "roberta"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**shape, "architectures": ["RobertaModel"]}))
    config["text_cfg"] = {
        "hf_model_name": str(folder), "hf_proj_type": "linear", "hf_model_pretrained": False, "width": 24,
        "vocab_size": 40, "output_tokens": True,
    }  # fmt: skip
    original = theirs(config)
    state = {**original.state_dict(), "text.transformer.embeddings.position_ids": torch.arange(30)[None]}
    torch.save(state, tmp_path / "same.pt")
    config["text_cfg"]["hf_model_config"] = shape
    registry.add_config(config, "same")
    model = registry.create("same", tmp_path / "same.pt")
    assert set(model.state_dict()) == set(original.state_dict())
    image, text = torch.randn(3, 3, 32, 32), torch.randint(2, 40, (3, 12))
    text[0, 5:] = 1
    torch.testing.assert_close(model(image, text), original(image, text), atol=2e-5, rtol=1e-4)
    # Tokens of this tower see later ones, so each step runs the whole tower and equals the whole model.
    found = model.generate(image, generation_type="top_k", sot_token_id=0, eos_token_id=2, pad_token_id=1, seq_len=8)
    ids = found[:, :1]
    for index in range(1, 7):
        logits = model(image, ids, output_labels=False)["logits"][:, -1]
        if index < 5:
            logits[:, 2] = -torch.inf
        unfinished = ~torch.isin(ids[:, -1], torch.tensor([1, 2]))
        torch.testing.assert_close(found[unfinished, index], logits.argmax(dim=-1)[unfinished])
        ids = found[:, : index + 1]


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_ViT-L-14", "coca_base"])
def test_the_published_models_have_its_names_and_shapes(registry, theirs, name):
    import open_clip

    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        original = open_clip.CoCa(**{key: value for key, value in config.items() if key != "custom_text"})
    expected = {key: tuple(tensor.shape) for key, tensor in original.state_dict().items()}
    model = registry.create(name, device="meta")
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == expected
