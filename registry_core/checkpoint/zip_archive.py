"""Checkpoints that are zips: archives of torch.save and TorchScript, read as data, and NumPy's (npz.py).

The first two have stored (uncompressed) records: `data.pkl` describes the objects, `data/<key>` hold the storages.
https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from registry_core.checkpoint import npz
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import LazyTensor
from registry_core.checkpoint.pickle_reader import read_pickle
from registry_core.checkpoint.pickle_values import PickleError, ScriptObject, TensorRef
from registry_core.checkpoint.script_module import declared_members, state_dict_of
from registry_core.checkpoint.stored import view_of_storage
from registry_core.checkpoint.zip_records import ZipRecords
from registry_core.errors import CheckpointError


def read_contents(file: CheckpointFile) -> tuple[str, Any]:
    """Return the format and the saved object, with each tensor as a LazyTensor.

    Raises:
        CheckpointError: The archive is truncated, damaged or another kind of zip.
    """
    records = ZipRecords(file)
    try:
        if npz.is_npz(records.names):
            return "NumPy archive (.npz)", npz.read_contents(file, records)
        root = _root(file, records)
        _refuse_big_endian(file, records, root)
        saved, _, _ = read_pickle(records.metadata(f"{root}data.pkl"), partial(_tensor, file, records, root))
        records.refuse_overlaps()
        if isinstance(saved, ScriptObject):
            members = dict(declared_members(_sources(records, f"{root}code/")))
            return "TorchScript archive, read as data", state_dict_of(saved, members)
    except CheckpointError:
        raise
    except PickleError as error:
        raise file.damaged(f"its contents could not be read: {error}") from error
    except Exception as error:
        raise file.damaged(f"its contents could not be read ({type(error).__name__}: {error})") from error
    return "torch zip archive", saved


def _root(file: CheckpointFile, records: ZipRecords) -> str:
    """Return the folder of the archive that holds all records, with its slash."""
    pickles = [name for name in records.names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{file.path} is a zip archive but not a torch checkpoint: it does not hold exactly one "
            f"`<name>/data.pkl`. It holds {', '.join(records.names[:5]):.400}. Nothing was loaded.",
            path=file.path,
            expected="<name>/data.pkl",
            found=records.names,
            advice="Unpack it, or convert it to .safetensors.",
        )
    return pickles[0].removesuffix("data.pkl")


def _refuse_big_endian(file: CheckpointFile, records: ZipRecords, root: str) -> None:
    name = f"{root}byteorder"
    if name in records and (order := records.metadata(name)) != b"little":
        raise file.damaged(
            "it was written on a big-endian machine, which is not supported", expected=b"little", found=order[:16]
        )


def _tensor(file: CheckpointFile, records: ZipRecords, root: str, ref: TensorRef) -> LazyTensor:
    name = f"{root}data/{ref.storage.key}"
    return view_of_storage(file, ref, records.size(name), records.location(name), partial(records.read, name))


def _sources(records: ZipRecords, folder: str) -> Iterator[tuple[str, str]]:
    for name in records.names:
        if name.startswith(folder) and name.endswith(".py"):
            module = name.removeprefix(folder).removesuffix(".py").replace("/", ".")
            yield module, records.metadata(name).decode()
