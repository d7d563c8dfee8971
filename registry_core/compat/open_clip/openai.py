"""Models with OpenAI's weights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry_core import OverrideError, registry
from registry_core.compat.open_clip.factory import create_model
from registry_core.compat.open_clip.pretrained import list_pretrained_models_by_tag

if TYPE_CHECKING:
    import torch
    from torch import nn

OPENAI = "openai"


def list_openai_models() -> list[str]:
    """Return the models that have a tag "openai". Models that are derived from them are not listed."""
    derived = registry.services.catalog.derived_models()
    return [name for name in list_pretrained_models_by_tag(OPENAI) if name not in derived]


def load_openai_model(
    name: str,
    precision: str | None = None,
    device: str | torch.device | None = None,
    cache_dir: str | None = None,
) -> nn.Module:
    """Create a model with OpenAI's weights, in evaluation mode.

    Args:
        name: Name of the model.
        precision: None means fp32 on the CPU, and fp16 on other devices.
        device: None means a GPU if one is available, else the CPU.
        cache_dir: Where downloads are kept.

    Raises:
        OverrideError: The name is a path. A file does not state which model it is for.
        RegistryError: As for `registry.create`.
    """
    import torch

    if os.path.isfile(name):  # noqa: PTH113 - the argument is a model name, not a path
        raise OverrideError(
            f"load_openai_model({name!r}) got a file, and a file does not state which model it is for. Nothing was "
            "loaded.",
            name=name,
            argument="name",
            expected="the name of a model",
            found=name,
            advice="Name the model: create_model('ViT-B-32', pretrained=path, force_quick_gelu=True).",
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = precision or ("fp32" if str(device) == "cpu" else "fp16")
    return create_model(name, OPENAI, precision=precision, device=device, cache_dir=cache_dir).eval()
