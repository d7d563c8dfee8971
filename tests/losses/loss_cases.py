"""Losses of this package and of open_clip on the same random features; used by the tests and by their processes."""

from __future__ import annotations

import importlib.util
import itertools
from types import SimpleNamespace

import torch
from registry_plugins.coca.loss import CoCaLoss
from registry_plugins.daclip.loss import DaClipLoss

from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss

OURS = SimpleNamespace(
    ClipLoss=ClipLoss,
    CoCaLoss=CoCaLoss,
    DistillClipLoss=DistillClipLoss,
    SigLipLoss=SigLipLoss,
    DaClipLoss=DaClipLoss,
)
ROWS, WIDTH, WORDS, VOCABULARY = 4, 8, 5, 11
GATHERINGS = [{"local_loss": a, "gather_with_grad": b} for a, b in itertools.product((False, True), repeat=2)]
EXCHANGES = [{"dist_impl": name} for name in ("bidir", "shift", "reduce", "gather")]
KINDS = {
    "clip": ("ClipLoss", (), ("image_features", "text_features", "logit_scale")),
    "clip with bias": ("ClipLoss", (), ("image_features", "text_features", "logit_scale", "logit_bias")),
    "coca": (
        "CoCaLoss",
        (2.0, 0.7, 3),
        ("image_features", "text_features", "logits", "labels", "logit_scale"),
    ),
    "distill": (
        "DistillClipLoss",
        (),
        (
            "image_features",
            "text_features",
            "logit_scale",
            "dist_image_features",
            "dist_text_features",
            "dist_logit_scale",
        ),
    ),
    "daclip": (
        "DaClipLoss",
        (),
        ("image_features", "text_features", "image_degra_features", "text_degra_features", "logit_scale"),
    ),
    "siglip": ("SigLipLoss", (), ("image_features", "text_features", "logit_scale", "logit_bias")),
}
CASES = [
    *itertools.product(["clip", "clip with bias", "coca", "distill", "daclip"], GATHERINGS),
    *itertools.product(["siglip"], EXCHANGES),
]
SHARED = ("logit_scale", "logit_bias", "dist_logit_scale")
WITHOUT_GRADIENT = ("labels", "dist_image_features", "dist_text_features", "dist_logit_scale")


def theirs():
    """Return open_clip's losses, or None without open_clip.

    They are imported from their file, since importing the package takes seconds.
    """
    package = importlib.util.find_spec("open_clip")
    if package is None:
        return None
    (folder,) = package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("open_clip_loss", f"{folder}/loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Twice(module.ClipLoss):
        """The loss of the original DA-CLIP: open_clip's loss for captions, and again for degradations."""

        def forward(self, images, texts, degraded_images, degraded_texts, scale):
            return super().forward(images, texts, scale), super().forward(degraded_images, degraded_texts, scale)

    names = ("ClipLoss", "CoCaLoss", "DistillClipLoss", "SigLipLoss")
    return SimpleNamespace(DaClipLoss=Twice, **{name: getattr(module, name) for name in names})


def make(library, kind, options, rank=0, world_size=1):
    """Return a loss of a library."""
    name, arguments, _ = KINDS[kind]
    return getattr(library, name)(*arguments, rank=rank, world_size=world_size, **options)


def features(kind, processes=1, dtype=torch.float64):
    """Return the inputs of a loss, in the order of its arguments, with the rows of all processes."""
    generator = torch.Generator().manual_seed(0)
    rows = ROWS * processes

    def unit():
        return torch.nn.functional.normalize(torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64), dim=-1)

    # Each row has the same number of tokens that are not padding (id 3), at different positions.
    labels = torch.randint(4, VOCABULARY, (rows, WORDS), generator=generator)
    labels.scatter_(1, torch.randint(0, WORDS, (rows, 1), generator=generator), 3)
    every = {
        "logit_scale": torch.tensor(9.0),
        "logit_bias": torch.tensor(-2.0),
        "dist_logit_scale": torch.tensor(5.0),
        "logits": torch.randn(rows, WORDS, VOCABULARY, generator=generator, dtype=torch.float64),
        "labels": labels,
    }
    _, _, names = KINDS[kind]
    chosen = {name: every[name] if name in every else unit() for name in names}
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in chosen.items()}


def part(inputs, rank, world_size):
    """Return the rows of one process."""
    return {name: value if name in SHARED else value.chunk(world_size)[rank] for name, value in inputs.items()}


def run(loss, inputs, *, by_name=False):
    """Return the parts of the loss, and the gradient of their sum with respect to each input."""
    leaves = {
        name: value.detach().clone().requires_grad_(name not in WITHOUT_GRADIENT) for name, value in inputs.items()
    }
    outputs = parts(loss(**leaves, output_dict=True) if by_name else loss(*leaves.values()))
    sum(outputs.values()).backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.requires_grad}
    return {"outputs": {name: value.detach() for name, value in outputs.items()}, "gradients": gradients}


def parts(outputs):
    """Return a dict of the parts: of a tuple by index, and of a scalar as "whole"."""
    if torch.is_tensor(outputs):
        return {"whole": outputs}
    return outputs if isinstance(outputs, dict) else dict(enumerate(outputs))


def total(result):
    """Return the sum of the parts of a result."""
    return sum(result["outputs"].values())
