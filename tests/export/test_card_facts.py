"""The facts that a model card states."""

from __future__ import annotations

import re

import pytest
import torch


def test_the_card_states_the_facts_of_the_model(saved_card, small, tagged):
    found = saved_card(tagged("MIT", context_length=12))
    shown = found.facts
    assert shown["model"] == "small"
    assert shown["architecture"].startswith("openai_clip (registry_core ")
    assert shown["weights"] == "tag 'mine'"
    assert shown["embedding size"] == "16"
    assert shown["image size"] == "32 x 32 pixels (height x width)"
    assert shown["context length"] == "12 tokens"
    assert shown["activation"] == "QuickGELU"
    assert shown["mean"] == "0.48145466, 0.4578275, 0.40821073"
    assert (shown["interpolation"], shown["resize mode"]) == ("bicubic", "shortest")
    assert shown["saved by"].endswith(f"torch {torch.__version__}")
    assert found.changes == [
        "quick\\_gelu, set by tag 'mine': True",
        "text\\_cfg.context\\_length, set by the caller: 12",
        "adapted: positional\\_embedding (resized 16 -\\> 12, linear)",
    ]


@pytest.mark.parametrize("name", ["small", "daclip_small", "tiny-rn"])
def test_the_card_counts_each_parameter_once(saved_card, small, name):
    model = small.create(name, False)
    shown = saved_card(model).facts
    count = {key: int(value.replace(",", "")) for key, value in shown.items() if key.startswith("parameters")}
    image = [module for key, module in model.named_children() if key.startswith("visual")]
    assert count.pop("parameters") == sum(p.numel() for p in model.parameters()) == sum(count.values())
    assert count["parameters in the image tower"] == sum(p.numel() for m in image for p in m.parameters())
    assert count["parameters in both towers or neither"] == (2 if name.startswith("daclip") else 1)


def test_the_card_names_the_dtypes(saved_card, small, write):
    model = small.create("small", write("torch"), precision="bf16")
    shown = saved_card(model).facts
    assert shown["precision"] == "bf16"
    low = sum(tensor.dtype == torch.bfloat16 for tensor in model.state_dict().values())
    assert f"bfloat16 ({low} tensors)" in shown["stored dtypes"]


def test_the_card_says_what_is_random_and_what_kept_previous_values(saved_card, small, source, write):
    del source._parameters["text_projection"]
    path = write("torch")
    model = small.create("small", path, strict=False)
    assert "not loaded, random values: text\\_projection" in saved_card(model).changes
    model = small.create("small", False)
    small.load(model, path, strict=False)
    found = saved_card(model)
    assert "not loaded, previous values kept: text\\_projection" in found.changes
    assert found.facts["previous weights"] == "random values"


def test_the_card_shows_no_folder_of_the_user(saved_card, small, source, write, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    path = write("torch", "secret/mine.pt")
    model = small.create("small", path, text_cfg={"hf_tokenizer_name": str(secret / "words")}, image_weights=path)
    cards = [saved_card(model)]
    small.load(model, path)
    small.load(model, path)
    cards.append(saved_card(model))
    cards.append(saved_card(small.create(f"local-dir:{small.save(source, secret)}"), "y/named"))
    for each in cards:
        assert str(tmp_path) not in each.text
        assert each.facts["weights"] in {"file mine.pt", "file open_clip_model.safetensors"}
    assert cards[0].facts["weights of the image tower"] == "file mine.pt"
    assert cards[1].facts["previous weights"] == "file mine.pt"
    assert cards[2].facts["model"] == "secret"


@pytest.mark.parametrize("options", [{}, {"precision": "pure_fp16"}, {"tower": "text"}])
def test_the_code_of_the_card_creates_the_same_model(small, write, tmp_path, options):
    model = small.create("small", write("torch"), **options)
    folder = small.save(model, tmp_path / "x")
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    code = code.partition("preprocess = ")[0].replace("path/to/this/folder", str(folder))
    names = {}
    exec(code, names)  # noqa: S102 - the subject
    again = names["model"].state_dict()
    assert again.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
