"""Pieces of programs that use the inner parts of models and transforms, run on both libraries."""

from __future__ import annotations

import multiprocessing
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from registry_core import InputError
from registry_core.compat import open_clip as layer
from registry_core.config.model import HFTextConfig
from registry_core.towers.hf_text import HFTextTower

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("known")]

TEXTS = ["a cat", "two dogs on a beach", "x " * 100]


@pytest.fixture
def image_batch():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def prompt_learning(library, model, _):
    """A learnt context instead of words, as in CoOp (Zhou et al. 2022, https://arxiv.org/abs/2109.01134)."""
    ids = library.tokenize(TEXTS[:2])
    words = model.token_embedding(ids).type(model.transformer.get_cast_dtype())
    x = torch.cat([words[:, :1], torch.full((2, 4, 64), 0.01), words[:, 1:-4]], dim=1) + model.positional_embedding
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    return x[torch.arange(2), ids.argmax(dim=-1) + 4] @ model.text_projection


def penultimate_layer(library, model, _):
    """Text tokens before the last block, which image generators are conditioned on."""
    del model.visual
    x = model.token_embedding(library.tokenize(TEXTS)) + model.positional_embedding
    x = x if model.transformer.batch_first else x.permute(1, 0, 2)
    for block in model.transformer.resblocks[:-1]:
        x = block(x, attn_mask=model.attn_mask)
    return model.ln_final(x)


def values_of_attention(_, model, images):
    """The values of the last block at each position (Zhou et al. 2022, https://arxiv.org/abs/2112.01071)."""
    block, seen = model.visual.transformer.resblocks[-1], []
    block.ln_1.register_forward_hook(lambda _block, _inputs, output: seen.append(output))
    model.encode_image(images)
    both = nn.functional.linear(seen[0], block.attn.in_proj_weight, block.attn.in_proj_bias)
    value = block.attn.out_proj(both.chunk(3, dim=-1)[2])
    return value.unflatten(-1, (block.attn.num_heads, block.attn.head_dim))


def relevance(library, model, images):
    """Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) on the last block."""
    kept, block = {}, model.visual.transformer.resblocks[-1].ln_1
    block.register_forward_hook(lambda _block, _inputs, output: kept.update(values=output))
    block.register_full_backward_hook(lambda _block, _into, out: kept.update(slopes=out[0]))
    image, text, scale = model(images, library.tokenize(TEXTS))
    (scale * image @ text.T)[:, 1].sum().backward()
    return (kept["values"] * kept["slopes"]).sum(dim=-1)


def own_mask(library, model, _):
    mask = model.attn_mask.clone()
    mask[1:, 0] = float("-inf")
    model.attn_mask = mask
    return model.encode_text(library.tokenize(TEXTS))


def no_mask(library, model, _):
    model.attn_mask = None
    return model.encode_text(library.tokenize(TEXTS))


def without_projections(library, model, images):
    model.visual.proj = model.text_projection = None
    return torch.cat([model.encode_image(images), model.encode_text(library.tokenize(TEXTS))])


def fewer_blocks(library, model, images):
    model.visual.transformer.resblocks = nn.Sequential(*model.visual.transformer.resblocks[:1])
    model.transformer.resblocks = model.transformer.resblocks[:1]
    model.visual.ln_post = nn.Identity()
    return torch.cat([model.encode_image(images), model.encode_text(library.tokenize(TEXTS))])


def other_pooling(library, model, images):
    model.visual.pool_type = "avg"
    model.text_pool_type = "last"
    return torch.cat([model.encode_image(images), model.encode_text(library.tokenize(TEXTS))])


def other_heads(_, model, images):
    for block in model.visual.transformer.resblocks:
        block.attn.num_heads, block.attn.head_dim = 4, 16
    return model.encode_image(images)


def pooled_at_a_word(library, model, images):
    model.text_pool_type, model.text_eos_id = "eos", int(library.tokenize("cat")[0, 1])
    return model(images[:1], library.tokenize(TEXTS[:1]))[1]


@pytest.mark.parametrize(
    "program",
    [
        prompt_learning, penultimate_layer, values_of_attention, relevance, own_mask, no_mask, without_projections,
        fewer_blocks, other_pooling, pooled_at_a_word, other_heads,
    ],
)  # fmt: skip
def test_the_inside_of_a_clip(theirs, weights, image_batch, program):
    path = str(weights / "little-vit.pt")
    ours, there = (program(lib, lib.create_model("little-vit", path).eval(), image_batch) for lib in (layer, theirs))
    torch.testing.assert_close(ours, there, atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["little-sigmoid", "little-coca"])
def test_the_mask_of_a_text_tower(theirs, weights, name):
    found = []
    for library in (layer, theirs):
        model = library.create_model(name, str(weights / f"{name}.pt")).eval()
        mask = model.text.attn_mask.clone()
        mask[1:, 0] = float("-inf")
        model.text.attn_mask = mask
        with torch.no_grad():
            found.append(model.encode_text(library.get_tokenizer(name)(TEXTS)))
    torch.testing.assert_close(*found, atol=3e-5, rtol=1e-4)


def test_a_seed_drops_the_same_patches(theirs, weights, image_batch):
    found = []
    for library in (layer, theirs):
        model = library.create_model("little-vit", str(weights / "little-vit.pt"), force_patch_dropout=0.5)
        torch.manual_seed(0)
        with torch.no_grad():
            dropped = model.encode_image(image_batch)
            model.visual.patch_dropout.prob = 0.0
            found.append(torch.cat([dropped, model.encode_image(image_batch)]))
    torch.testing.assert_close(*found, atol=3e-5, rtol=1e-4)


def test_decoding_keeps_the_special_tokens(theirs):
    for library in (layer, theirs):
        tokenizer = library.get_tokenizer("little-vit")
        assert tokenizer.decode([49406, 320, 49407]) == "<start_of_text>a <end_of_text>"
        assert tokenizer.decode(tokenizer.encode("a photo")) == "a photo "


def test_a_tags_row_has_the_same_keys_and_values(theirs):
    for model, tag in theirs.list_pretrained():
        ours, there = (lib.get_pretrained_cfg(model, tag) for lib in (layer, theirs))
        assert {key: tuple(v) if isinstance(v, list) else v for key, v in ours.items() if key in there} == there


class TestTransforms:
    @pytest.mark.parametrize("mode", ["shortest", "squash"])
    def test_are_torchvisions_steps(self, theirs, weights, mode):
        from torchvision.transforms import CenterCrop, Resize

        found = []
        for library in (layer, theirs):
            options = {"image_resize_mode": mode, "return_transform": True}
            _, transform = library.create_model_from_pretrained("little-vit", str(weights / "little-vit.pt"), **options)
            steps = transform.transforms
            fitting = [step for step in steps if isinstance(step, Resize | CenterCrop)]
            sizes = [step.size if isinstance(step.size, int) else tuple(step.size) for step in fitting]
            found.append((sizes, steps[0].interpolation, steps[-1].mean, len(steps)))
        assert found[0] == found[1]

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_work_in_worker_processes(self, weights, images, method):
        _, transform = layer.create_model_from_pretrained("little-vit", str(weights / "little-vit.pt"))
        tokenizer = layer.get_tokenizer("little-vit")
        assert torch.equal(pickle.loads(pickle.dumps(tokenizer))("a cat"), tokenizer("a cat"))
        data = ImageFolder(images, transform)
        context = multiprocessing.get_context(method)
        loader = DataLoader(data, batch_size=6, num_workers=1, multiprocessing_context=context)
        found = torch.cat([batch for batch, _ in loader])
        assert torch.equal(found, torch.stack([image for image, _ in data]))


def test_random_states_do_not_change(weights):
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    layer.create_model_and_transforms("little-vit", str(weights / "little-vit.pt"))
    layer.get_tokenizer("little-vit")("a cat")
    assert states() == before
    assert torch.get_default_dtype() == torch.float32


def test_a_transformers_tower_returns_tokens_if_asked_for():
    pytest.importorskip("transformers")
    shape = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "vocab_size": 50,
    }  # fmt: skip
    text = {"hf_model_name": "mine", "hf_model_config": shape, "hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}
    tower = HFTextTower(HFTextConfig(**text), 24).eval()
    ids = torch.randint(1, 50, (2, 6))
    with torch.no_grad():
        feature = tower(ids)
        tower.output_tokens = True
        again, tokens = tower(ids)
    assert torch.equal(feature, again)
    assert tokens.shape == (2, 6, 32)


def test_an_unknown_pooling_is_refused(weights, image_batch):
    model = layer.create_model("little-vit", str(weights / "little-vit.pt"))
    model.visual.pool_type = model.text_pool_type = "mean"
    with pytest.raises(InputError, match="pool_type='mean' was set on a tower; expected one of tok, avg, none"):
        model.encode_image(image_batch)
    with pytest.raises(InputError) as caught:
        model.encode_text(layer.tokenize(TEXTS))
    assert (caught.value.found, caught.value.expected) == ("mean", ("first", "last", "argmax", "eos", "none"))
