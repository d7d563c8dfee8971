"""OpenAI's models."""

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
    """The models that have a tag "openai"; those that are derived from them are not listed."""
    derived = registry.services.lookup.derived_models()
    return [name for name in list_pretrained_models_by_tag(OPENAI) if name not in derived]


def load_openai_model(
    name: str,
    precision: str | None = None,
    device: str | torch.device | None = None,
    cache_dir: str | None = None,
) -> nn.Module:
    """A model with OpenAI's weights, in evaluation mode.

    Args:
        name: the model's.
        precision: None means fp32 on the CPU, fp16 elsewhere.
        device: None means a GPU if there is one.
        cache_dir: where downloads are kept.

    Raises:
        OverrideError: the name is a path, which does not say whose weights it holds.
        RegistryError: what `registry.create` raises.
    """
    import torch

    if os.path.isfile(name):  # noqa: PTH113 - any name is given here, and most are no paths
        raise OverrideError(
            f"load_openai_model({name!r}) is given a file, and a file does not say which model it is for. Nothing was "
            "loaded. Name the model: create_model('ViT-B-32', pretrained=path, force_quick_gelu=True)."
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = precision or ("fp32" if str(device) == "cpu" else "fp16")
    return create_model(name, OPENAI, precision=precision, device=device, cache_dir=cache_dir).eval()
