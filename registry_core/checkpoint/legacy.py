"""torch.save's format before torch 1.6: a run of pickles, then the storages.

Only torch knows where its tensors lie, so this one format is read by `torch.load(weights_only=True)`, in full.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from functools import partial
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
        # By stream: given a path, torch goes by its suffix.
        with os.fdopen(os.dup(file.stream.fileno()), "rb") as stream:
            stream.seek(0)
            saved = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own message recommends weights_only=False first; only the name that it refused is passed on.
        asked = re.search(r"GLOBAL ([\w.]*\w) ", str(error))
        if asked is None:
            raise file.damaged(
                "legacy torch file, its pickle is cut off or of a kind that torch does not read as data"
            ) from error
        raise UnsafeCheckpointError(
            f"{file.path} is a legacy torch file (before torch 1.6) that holds more than tensors: it asks for "
            f"`{asked[1]}` while it is unpickled. Loading it would run code that comes with the file. Nothing was run "
            "and nothing was loaded. If you trust its author, open it where it was made and save "
            "`model.state_dict()` alone, best as .safetensors."
        ) from error
    except Exception as error:
        raise file.damaged(f"legacy torch file, {type(error).__name__}: {_first_line(error)}") from error

    def with_lazy(node: Any) -> Any:
        match node:
            case torch.Tensor():
                dtype = str(node.dtype).removeprefix("torch.")
                own = partial(torch.clone, node.detach(), memory_format=torch.contiguous_format)
                return LazyTensor(dtype, tuple(node.shape), own)
            case Mapping():
                return {key: with_lazy(value) for key, value in node.items()}
            case _:
                return node

    return with_lazy(saved)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
