"""A model's tensors into a folder that reads back: config as JSON, weights as safetensors."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry_core.report import LoadReport

CONFIG_FILENAME = "open_clip_config.json"
WEIGHTS_FILENAME = "open_clip_model.safetensors"


def save_model(model: nn.Module, report: LoadReport, folder: Path) -> Path:
    """Write both files; each is complete or not there. Returns the folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        weights, config = Path(temporary) / WEIGHTS_FILENAME, Path(temporary) / CONFIG_FILENAME
        save_file(distinct_tensors(model), weights, metadata={"format": "pt"})
        config.write_text(json.dumps(_config(report), indent=2) + "\n", encoding="utf-8")
        weights.replace(folder / WEIGHTS_FILENAME)
        config.replace(folder / CONFIG_FILENAME)
    return folder


def distinct_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with each shared tensor under its first name only, on the CPU and contiguous.

    Loading gives the other names back, since they are the same parameter in the model.
    """
    seen: set[int] = set()
    distinct = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            distinct[name] = tensor.detach().cpu().contiguous()
    return distinct


def _config(report: LoadReport) -> dict[str, Any]:
    """The hub's form of a config, with the architecture beside it; sizes that were implied are written out."""
    raw = report.config.raw()
    preprocess = {**raw.pop("preprocess_cfg"), "size": list(report.config.image_size)}
    return {"architecture": raw.pop("architecture"), "model_cfg": raw, "preprocess_cfg": preprocess}
