"""Model classes, their configs, and what is done to models."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from registry_core.compat.open_clip.offered import offered
from registry_core.config import TextConfig as CLIPTextCfg
from registry_core.config import VisionConfig as CLIPVisionCfg
from registry_core.config import as_pair
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

__getattr__ = offered(__name__, "CLIP", "CustomTextCLIP")

# Precision -> torch's name of a dtype.
_CAST = {"bf16": "bfloat16", "fp16": "float16"}
_INPUT = {**_CAST, "pure_bf16": "bfloat16", "pure_fp16": "float16"}


def get_cast_dtype(precision: str) -> torch.dtype | None:
    """The dtype that a mixed precision casts weights to, or None."""
    return _dtype(_CAST, precision)


def get_input_dtype(precision: str) -> torch.dtype | None:
    """The dtype that pictures should have for a precision, or None where it is float32."""
    return _dtype(_INPUT, precision)


def _dtype(table: Mapping[str, str], precision: str) -> torch.dtype | None:
    import torch

    found: torch.dtype | None = getattr(torch, table[precision]) if precision in table else None
    return found


def convert_weights_to_lp(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Cast a model's weights in place as the precisions fp16 and bf16 do: norms and embeddings stay float32.

    Args:
        model: a registry's.
        dtype: torch.float16, which None means, or torch.bfloat16.

    Raises:
        OverrideError: another dtype.
    """
    from registry_core.precision import apply_precision

    name = str(dtype or "torch.float16").removeprefix("torch.")
    precision = {dtype: precision for precision, dtype in _CAST.items()}.get(name)
    if precision is None:
        raise OverrideError(f"dtype={dtype}: expected torch.float16 or torch.bfloat16. The model was not changed.")
    apply_precision(model, precision)


convert_weights_to_fp16 = convert_weights_to_lp


def trace_model(model: nn.Module, batch_size: int = 256, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """A TorchScript module with the traced methods forward, encode_image and encode_text.

    torch has deprecated TorchScript; `torch.export` of the same methods works too.

    Args:
        model: a registry's; it is put into evaluation mode.
        batch_size: of the examples that are traced.
        device: where they are, and the model.
    """
    import torch

    model.eval()
    image_size: Any = model.visual.image_size  # type: ignore[union-attr]
    pictures = torch.ones((batch_size, 3, *as_pair(image_size)), device=device)
    texts = torch.zeros((batch_size, model.context_length), dtype=torch.int, device=device)  # type: ignore[arg-type]
    inputs = {"forward": (pictures, texts), "encode_image": (pictures,), "encode_text": (texts,)}
    traced: torch.jit.ScriptModule = torch.jit.trace_module(model, inputs)  # type: ignore[no-untyped-call]
    traced.visual.image_size = image_size
    return traced


def get_model_tokenize_cfg(model: nn.Module) -> dict[str, int]:
    """`context_length` and `vocab_size`, as far as the text side says them."""
    text = getattr(model, "text", model)
    said = {key: getattr(text, key, None) for key in ("context_length", "vocab_size")}
    return {key: value for key, value in said.items() if value is not None}


def get_model_preprocess_cfg(model: nn.Module) -> dict[str, Any]:
    """Size, mean, std and the other keys of PreprocessCfg that the model's weights want."""
    return getattr(_pictures_of(model), "preprocess_cfg", None) or {}


def set_model_preprocess_cfg(model: nn.Module, preprocess_cfg: Mapping[str, Any]) -> None:
    """Note on a model how its pictures are preprocessed; it changes no transform that is made already.

    Raises:
        OverrideError: `mean` or `std` is not said.
    """
    missing = [key for key in ("mean", "std") if key not in preprocess_cfg]
    if missing:
        raise OverrideError(f"preprocess_cfg lacks {' and '.join(missing)}. The model was not changed. Add them.")
    visual: Any = _pictures_of(model)
    visual.image_mean, visual.image_std = preprocess_cfg["mean"], preprocess_cfg["std"]
    visual.preprocess_cfg = deepcopy(dict(preprocess_cfg))


def _pictures_of(model: nn.Module) -> nn.Module:
    visual: nn.Module = getattr(model, "visual", model)
    return visual
