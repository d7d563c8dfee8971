"""Model classes and their configs, and functions on models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from registry_core.compat.open_clip.offered import class_lookup
from registry_core.config.model import TextConfig as CLIPTextCfg
from registry_core.config.model import VisionConfig as CLIPVisionCfg
from registry_core.config.model import as_pair
from registry_core.errors import OverrideError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "CLIPTextCfg",
    "CLIPVisionCfg",
    "convert_weights_to_fp16",
    "convert_weights_to_lp",
    "get_cast_dtype",
    "get_input_dtype",
    "get_model_preprocess_cfg",
    "get_model_tokenize_cfg",
    "set_model_preprocess_cfg",
    "trace_model",
]

__getattr__ = class_lookup(__name__, "CLIP", "CustomTextCLIP")

# Precision -> the name of a dtype in torch.
_CAST = {"bf16": "bfloat16", "fp16": "float16"}
_INPUT = {**_CAST, "pure_bf16": "bfloat16", "pure_fp16": "float16"}


def get_cast_dtype(precision: str) -> torch.dtype | None:
    """Return the dtype that a mixed precision casts weights to, or None."""
    return _dtype(_CAST, precision)


def get_input_dtype(precision: str) -> torch.dtype | None:
    """Return the dtype that images should have for a precision, or None for float32."""
    return _dtype(_INPUT, precision)


def _dtype(table: Mapping[str, str], precision: str) -> torch.dtype | None:
    import torch

    found: torch.dtype | None = getattr(torch, table[precision]) if precision in table else None
    return found


def convert_weights_to_lp(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Cast the weights of a model in place, as the precisions fp16 and bf16 do. Norms and embeddings stay float32.

    Args:
        model: A model that the registry created.
        dtype: torch.float16 or torch.bfloat16. None means torch.float16.

    Raises:
        OverrideError: The dtype is another one.
    """
    from registry_core.towers.precision import apply_precision

    name = str(dtype or "torch.float16").removeprefix("torch.")
    precision = {dtype: precision for precision, dtype in _CAST.items()}.get(name)
    if precision is None:
        raise OverrideError(
            f"dtype={dtype}: expected torch.float16 or torch.bfloat16. The model was not changed.",
            argument="dtype",
            expected="torch.float16 or torch.bfloat16",
            found=dtype,
        )
    apply_precision(model, precision)


convert_weights_to_fp16 = convert_weights_to_lp


def trace_model(model: nn.Module, batch_size: int = 256, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """Return a TorchScript module with the traced methods forward, encode_image and encode_text.

    torch has deprecated TorchScript. `torch.export` of the same methods works too.

    Args:
        model: A model that the registry created. It is put into evaluation mode.
        batch_size: Batch size of the example inputs.
        device: Device of the example inputs. It must be that of the model.
    """
    import torch

    model.eval()
    attributes: Any = model  # nn.Module does not declare the attributes of a CLIP
    image_size = attributes.visual.image_size
    images = torch.ones((batch_size, 3, *as_pair(image_size)), device=device)
    texts = torch.zeros((batch_size, attributes.context_length), dtype=torch.int, device=device)
    inputs = {"forward": (images, texts), "encode_image": (images,), "encode_text": (texts,)}
    trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace_module  # has no type hints
    traced = trace(model, inputs)
    traced.visual.image_size = image_size
    return traced


def get_model_tokenize_cfg(model: nn.Module) -> dict[str, int]:
    """Return `context_length` and `vocab_size`, if the text tower has these attributes."""
    text = getattr(model, "text", model)
    found = {key: getattr(text, key, None) for key in ("context_length", "vocab_size")}
    return {key: value for key, value in found.items() if value is not None}


def get_model_preprocess_cfg(model: nn.Module) -> dict[str, Any]:
    """Return size, mean, std and the other keys of PreprocessCfg for the weights of a model."""
    return getattr(_image_tower(model), "preprocess_cfg", None) or {}


def set_model_preprocess_cfg(model: nn.Module, preprocess_cfg: Mapping[str, Any]) -> None:
    """Store on a model how its images are preprocessed. Transforms that were made before do not change.

    Raises:
        OverrideError: `mean` or `std` is missing.
    """
    missing = [key for key in ("mean", "std") if key not in preprocess_cfg]
    if missing:
        raise OverrideError(
            f"preprocess_cfg lacks {' and '.join(missing)}. The model was not changed.",
            argument="preprocess_cfg",
            expected=("mean", "std"),
            found=list(preprocess_cfg),
            advice="Add them.",
        )
    visual: Any = _image_tower(model)
    visual.image_mean, visual.image_std = preprocess_cfg["mean"], preprocess_cfg["std"]
    visual.preprocess_cfg = deepcopy(dict(preprocess_cfg))


def _image_tower(model: nn.Module) -> nn.Module:
    visual: nn.Module = getattr(model, "visual", model)
    return visual
