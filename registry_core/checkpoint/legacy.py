"""The format of torch.save before torch 1.6: several pickles, then the storages.

Only torch can find the tensors in such a file, so this one format is read by `torch.load(weights_only=True)`, in full.
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
from registry_core.errors import CheckpointError, UnsafeCheckpointError


def read_contents(file: CheckpointFile) -> Any:
    """Return the saved object, with each tensor as a LazyTensor.

    Raises:
        UnsafeCheckpointError: The pickle asks for more than tensors and plain containers.
        CheckpointError: The file is damaged.
    """
    import torch

    try:
        # torch gets a stream, because it chooses a reader by the suffix of a path.
        with os.fdopen(os.dup(file.stream.fileno()), "rb") as stream:
            stream.seek(0)
            saved = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(file, error) from error
    except Exception as error:
        raise file.damaged(f"legacy torch file, {type(error).__name__}: {_first_line(error)}") from error
    return _with_lazy_tensors(saved)


def _refusal(file: CheckpointFile, error: pickle.UnpicklingError) -> CheckpointError:
    # torch's own message recommends weights_only=False first, so only the name that torch refused is passed on.
    asked = re.search(r"GLOBAL ([\w.]*\w) ", str(error))
    if asked is None:
        return file.damaged("legacy torch file, its pickle is cut off or of a kind that torch does not read as data")
    return UnsafeCheckpointError(
        f"{file.path} is a legacy torch file (before torch 1.6) that holds more than tensors: its pickle asks for "
        f"`{asked[1]}`. Loading it would run code that the file contains. Nothing was run and nothing was loaded.",
        path=file.path,
        name=asked[1],
        advice="If you trust its author, open it where it was made and save only `model.state_dict()`, preferably as "
        ".safetensors.",
    )


def _with_lazy_tensors(node: Any) -> Any:
    import torch

    match node:
        case torch.Tensor():
            dtype = str(node.dtype).removeprefix("torch.")
            load = partial(torch.clone, node.detach(), memory_format=torch.contiguous_format)
            return LazyTensor(dtype, tuple(node.shape), load)
        case Mapping():
            return {key: _with_lazy_tensors(value) for key, value in node.items()}
        case _:
            return node


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
