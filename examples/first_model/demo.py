"""Explain, create and use a DA-CLIP from a checkpoint of the original implementation, on a real image."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from registry_core import registry

HERE = Path(__file__).parent
GOLDEN = HERE.parent.parent / "tests" / "golden"
CHECKPOINT = GOLDEN / "daclip_tiny_full.pt"


def main() -> None:
    """Run all steps."""
    heading("Add a config: it becomes a model and its DA-CLIP")
    registry.add_config(HERE / "tiny.json")
    print("registry.list_models('*tiny') ->", registry.list_models("*tiny"))

    heading("Explain where everything is from, before anything is built")
    print(registry.explain("daclip_tiny", CHECKPOINT))

    heading("Create the model, and print its load report")
    model = registry.create("daclip_tiny", pretrained=CHECKPOINT)
    print(registry.report(model))

    heading("Encode a real image, without and with control")
    preprocess = registry.preprocess(model)
    print(preprocess)
    image = preprocess(Image.open(HERE / "cat.jpg"))[None]
    with torch.no_grad():
        plain = model.encode_image(image, normalize=True)
        controlled, degradation = model.encode_image(image, control=True, normalize=True)
    print(f"image                                  {list(image.shape)}")
    print(f"image feature                            {list(plain.shape)}")
    print(f"cosine with and without control          {cosine_similarity(plain, controlled).item():.6f}")
    print(f"cosine of image and degradation feature  {cosine_similarity(controlled, degradation).item():.6f}")

    heading("Compare with outputs recorded from the original implementation")
    figures = load_file(GOLDEN / "daclip_tiny_io.safetensors")
    with torch.no_grad():
        features, degradations = model.encode_image(figures["in.image"], control=True)
        texts = model.encode_text(figures["in.caption"])
    for name, found, expected in (
        ("image features, controlled", features, figures["full.encode_image_control"]),
        ("degradation features", degradations, figures["full.encode_image_degra"]),
        ("text features", texts, figures["full.encode_text"]),
    ):
        print(f"{name:<28} largest difference {(found - expected).abs().max().item():.1e}")


def heading(text: str) -> None:
    """Print the title of a step."""
    print(f"\n== {text}\n")


if __name__ == "__main__":
    main()
