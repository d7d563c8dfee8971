"""torch.save's format before torch 1.6: a run of pickles, then the storages.

Only torch knows where its tensors lie, so this one format is read by `torch.load(weights_only=True)`, in full.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import LazyTensor
from registry_core.errors import UnsafeCheckpointError


def read_contents(file: CheckpointFile) -> Any:
    """The saved object, with each tensor as a LazyTensor.

    Raises:
        UnsafeCheckpointError: the pickle asks for more than tensors and plain containers.
        CheckpointError: the file is damaged.
    """
    import torch

    try:
        saved = torch.load(file.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpointError(
            f"{file.path} is a legacy torch file (before torch 1.6) that holds more than tensors: "
            f"{_first_line(error)}. Reading it would run code. Nothing was run and nothing was loaded. If you trust "
            "its author, open it where it was made and save `model.state_dict()` as .safetensors."
        ) from error
    except Exception as error:
        raise file.damaged(f"legacy torch file, {type(error).__name__}: {_first_line(error)}") from error

    def with_lazy(node: Any) -> Any:
        match node:
            case torch.Tensor():
                dtype = str(node.dtype).removeprefix("torch.")
                return LazyTensor(dtype, tuple(node.shape), lambda: node.detach().clone())
            case Mapping():
                return {key: with_lazy(value) for key, value in node.items()}
            case _:
                return node

    return with_lazy(saved)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
