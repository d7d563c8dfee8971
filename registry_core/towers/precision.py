"""What the names of precisions mean; they are open_clip's.

fp32, amp, amp_bf16, amp_bfloat16   parameters stay float32 (amp: the caller runs under autocast)
pure_fp16, pure_bf16                every floating-point parameter and buffer is cast
fp16, bf16                          convolutions, linear layers and attention projections are cast, norms and
                                    embeddings stay float32, as in OpenAI's checkpoints; a module lists further
                                    parameters to cast in `low_precision_parameters`
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from registry_core.errors import OverrideError, unknown_choice

_MIXED = {"fp16": torch.float16, "bf16": torch.bfloat16}
_PURE = {"pure_fp16": torch.float16, "pure_bf16": torch.bfloat16}
_FULL = ("fp32", "amp", "amp_bf16", "amp_bfloat16")
_AUTOCAST = {"amp": None, "amp_bf16": torch.bfloat16, "amp_bfloat16": torch.bfloat16}
PRECISIONS = (*_FULL, *_MIXED, *_PURE)

# Parameters cast under fp16 and bf16, by the type of the module that holds them.
_CAST: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv1d: ("weight", "bias"),
    nn.Conv2d: ("weight", "bias"),
    nn.Linear: ("weight", "bias"),
    nn.MultiheadAttention: (
        "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    ),
}  # fmt: skip


def check_precision(precision: str) -> None:
    """Refuse an unknown name of a precision.

    Raises:
        OverrideError: The name is not in PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise unknown_choice(OverrideError, "precision", precision, PRECISIONS, "Nothing was built.")


def apply_precision(model: nn.Module, precision: str, *, values: bool = True) -> None:
    """Cast the parameters of a model in place. Tensors that have the dtype already are not touched.

    Args:
        model: The model.
        precision: One of PRECISIONS.
        values: Whether the parameters hold values worth casting. Otherwise each one is replaced by uninitialised
            memory of the new dtype.
    """
    with torch.no_grad():
        for tensor, dtype in _targets(model, precision):
            if tensor.dtype != dtype:
                keep = values or not isinstance(tensor, nn.Parameter)
                tensor.data = tensor.data.to(dtype) if keep else torch.empty_like(tensor, dtype=dtype)


def input_dtype(precision: str) -> torch.dtype:
    """Return the dtype that images need for a model of a precision."""
    return {**_MIXED, **_PURE}.get(precision, torch.float32)


def autocast(precision: str, device_type: str) -> torch.autocast:
    """Return the autocast context for a model of a precision. It is disabled unless the precision is amp.

    Args:
        precision: One of PRECISIONS.
        device_type: "cpu", "cuda", ... Plain "amp" uses the default dtype of the device.
    """
    return torch.autocast(device_type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST)


def _targets(model: nn.Module, precision: str) -> Iterator[tuple[torch.Tensor, torch.dtype]]:
    """Yield the tensors of a model that a precision casts, each with its dtype."""
    if precision in _PURE:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                yield tensor, _PURE[precision]
    elif precision in _MIXED:
        for module in model.modules():
            names = next((cast for kind, cast in _CAST.items() if isinstance(module, kind)), ())
            for name in (*names, *getattr(module, "low_precision_parameters", ())):
                parameter = module._parameters.get(name)  # noqa: SLF001 - skips names that are None or a submodule
                if parameter is not None:
                    yield parameter, _MIXED[precision]
