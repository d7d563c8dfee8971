"""The calls of DA-CLIP's README and of its evaluation program, compared with the results of the original.

https://github.com/Algolzw/daclip-uir: README.md ("DA-CLIP Usage"), da-clip/src/evaluate.py and the test program of its
image restoration. Their tokens do not fit the tiny model's vocabulary, so the tests use recorded ids for texts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

README = """
import sys
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
import open_clip

checkpoint = sys.argv[1]
recorded = load_file(sys.argv[2])
model, preprocess = open_clip.create_model_from_pretrained("daclip_tiny", pretrained=checkpoint)
tokenizer = open_clip.get_tokenizer("ViT-B-32")

degradations = ["motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed",
                "snowy", "uncompleted"]
text = tokenizer(degradations)
image = preprocess(Image.open("haze.png")).unsqueeze(0)

with torch.no_grad(), torch.amp.autocast("cpu", enabled=False):
    text_features = model.encode_text(recorded["in.degradation"])
    image_features, degra_features = model.encode_image(recorded["in.image"], control=True)
    own_features, own_degra = model.encode_image(image, control=True)
    results = {"image_features": image_features.clone(), "degra_features": degra_features.clone()}
    degra_features /= degra_features.norm(dim=-1, keepdim=True)
    text_features /= text_features.norm(dim=-1, keepdim=True)
    probabilities = (100.0 * degra_features @ text_features.T).softmax(dim=-1)
    index = torch.argmax(probabilities[0])
results |= {"preprocessed": image[0], "text": text, "probabilities": probabilities, "own": own_features}
save_file({key: value.contiguous() for key, value in results.items()}, "results.safetensors")
print(f"Task: {degradations[index]} - {probabilities[0][index]}")
"""


@pytest.fixture
def folder(tmp_path, golden, golden_meta):
    """A folder to run the program in, with the config of the base model and the recorded image."""
    config = {key: value for key, value in golden_meta["config"].items() if key != "custom_text"}
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    pixels = load_file(golden / "daclip_tiny_io.safetensors")["in.raw_image"].numpy()
    Image.fromarray(pixels).save(tmp_path / "haze.png")
    return tmp_path


@pytest.mark.parametrize("checkpoint", ["daclip_tiny_full.pt", "daclip_tiny_full_train.pt"])
def test_the_program_of_the_readme_gives_the_recorded_results(folder, golden, checkpoint):
    (folder / "program.py").write_text(README)
    figures = golden / "daclip_tiny_io.safetensors"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "registry_core", "run", "program.py", str(golden / checkpoint), str(figures)],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "REGISTRY_CORE_CONFIG_PATH": str(folder / "tiny.json")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Task: ")
    found, recorded = load_file(folder / "results.safetensors"), load_file(figures)
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(found["preprocessed"], recorded["in.preprocessed"], atol=1e-6, rtol=0)
    torch.testing.assert_close(found["image_features"], recorded["full.encode_image_control"], **close)
    torch.testing.assert_close(found["degra_features"], recorded["full.encode_image_degra"], **close)
    texts = recorded["full.forward.text_degra_features"]
    expected = (100.0 * recorded["full.encode_image_degra_norm"] @ texts.T).softmax(dim=-1)
    torch.testing.assert_close(found["probabilities"], expected, atol=1e-4, rtol=1e-4)
    assert found["text"].shape == (10, 77)
    assert found["text"][:, 0].unique().tolist() == [49406]
    assert found["own"].shape == (1, 48)


def test_base_weights_from_a_path(folder, golden, monkeypatch):
    """The original accepts base weights only as a tag. Here they may be a file (issue 30 of the original)."""
    from registry_core.compat import open_clip

    monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder / "tiny.json"))
    model, _, _ = open_clip.create_model_and_transforms("daclip_tiny", str(golden / "daclip_tiny_clip.pt"))
    recorded = load_file(golden / "daclip_tiny_io.safetensors")
    with torch.no_grad():
        image, degradation = model.encode_image(recorded["in.image"], control=True)
    torch.testing.assert_close(image, recorded["base.encode_image_control"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(degradation, recorded["base.encode_image_degra"], atol=1e-5, rtol=1e-5)


def test_a_training_step_changes_the_controller_alone(folder, golden, monkeypatch):
    """The lines of its training loop: the loss takes the outputs as keywords. Texts are captions and degradations."""
    from argparse import Namespace

    from registry_core.compat import open_clip

    monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(folder / "tiny.json"))
    model, _, _ = open_clip.create_model_and_transforms("daclip_tiny", str(golden / "daclip_tiny_clip.pt"))
    loss = open_clip.create_loss(Namespace(model="daclip_tiny", rank=0, world_size=1, distill=False, horovod=False))
    recorded = load_file(golden / "daclip_tiny_io.safetensors")
    model.train()
    losses = loss(**model(recorded["in.image"], recorded["in.pair"]), output_dict=True)
    assert set(losses) == {"contrastive_loss", "degra_loss"}
    sum(losses.values()).backward()
    touched = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert touched == {"visual_control", "logit_scale"}
