"""A tiny CoCa whose parameters all differ from their initial values, inputs for it, and plain sampling."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

TINY_COCA = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "attentional_pool": True,
        "attn_pooler_heads": 4,
        "attn_pooler_queries": 6,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 40,
        "width": 24,
        "heads": 4,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 12, "vocab_size": 40, "width": 24, "heads": 4, "layers": 2},
    "custom_text": True,
}
PAD, START, END = 0, 38, 39


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads only wait for each other on tensors this small, for seconds if other programs run too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config():
    """The raw config; a test may change its own."""
    return copy.deepcopy(TINY_COCA)


@torch.no_grad()
def shake(model, strength=0.3):
    """Move every parameter: zeros and ones in a bias, a norm or a layer scale hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * strength)
    return model


@pytest.fixture
def coca(registry, config):
    """Make a model. Arguments override keys of the tiny config, mapping by mapping."""
    count = iter(range(100))

    def make(strength=0.3, **changes):
        torch.manual_seed(0)
        raw = copy.deepcopy(config)
        for key, value in changes.items():
            raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
        return shake(registry.create(registry.add_config(raw, f"coca-{next(count)}"), False), strength)

    return make


@pytest.fixture
def model(coca):
    return coca()


@pytest.fixture
def image():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text():
    """Three texts, one padded, one with padding inside, one full."""
    ids = torch.randint(1, 38, (3, 12), generator=torch.Generator().manual_seed(2))
    ids[0, 6:] = 0
    ids[1, 4] = 0
    return ids


@pytest.fixture
def tokens():
    """Options of `generate` for the tiny vocabulary."""
    return {"sot_token_id": START, "eos_token_id": END, "seq_len": 10, "min_seq_len": 3}


def sample_plainly(
    model, image, seed, *, top_k=None, top_p=None, temperature=1.0, penalty=1.0, seq_len=10, least=3, window=77
):
    """Sample row by row and token by token, without a cache. Unfinished rows draw in their order."""
    generator = torch.Generator().manual_seed(seed)
    latent, embs = model.image_outputs(image)
    texts = [[START] for _ in image]
    while len(texts[0]) < seq_len:
        unfinished = [row for row, text in enumerate(texts) if text[-1] not in {END, PAD}]
        if not unfinished:
            break
        probabilities = []
        # The whole text tower and decoder run over the whole texts, as far as the window reaches.
        seen = [text[-window:] for text in texts]
        steps = model(None, torch.tensor(seen), latent, embs, output_labels=False)["logits"][:, -1].tolist()
        for row in unfinished:
            logits = steps[row]
            if len(seen[row]) < least:
                logits[END] = -float("inf")
            for token in set(seen[row]):
                logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
            order = sorted(range(len(logits)), key=lambda token: -logits[token])
            share = torch.tensor(logits).softmax(0).tolist()
            if top_k is not None:
                kept = order[:top_k]
            else:
                held = list(itertools.accumulate(share[token] for token in order))
                kept = [token for rank, token in enumerate(order) if rank == 0 or held[rank - 1] < top_p]
            narrowed = torch.full((len(logits),), -float("inf"))
            narrowed[kept] = torch.tensor(logits)[kept]
            probabilities.append((narrowed / temperature).softmax(0))
        if len(seen[0]) + 1 == seq_len:
            drawn = dict.fromkeys(unfinished, END)
        else:
            found = torch.multinomial(torch.stack(probabilities), 1, generator=generator)[:, 0].tolist()
            drawn = dict(zip(unfinished, found, strict=True))
        texts = [[*text, drawn.get(row, PAD)] for row, text in enumerate(texts)]
    return torch.tensor(texts)


@pytest.fixture
def plain_sampling():
    """Sampling, implemented without the code under test."""
    return sample_plainly
