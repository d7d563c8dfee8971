"""Find the format of a file by its content, never by its suffix.

A table of signatures: the first that matches either reads the file, or states what the file is and what to do with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from registry_core.checkpoint import legacy, safetensors, shards, zip_archive
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import CheckpointIndex, LazyTensor
from registry_core.checkpoint.state_dict import find_state_dict
from registry_core.errors import CheckpointError, UnsafeCheckpointError

_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_MAX_HEADER = 100_000_000  # the limit that safetensors itself has
_SUPPORTED = "safetensors, a file of torch.save or a TorchScript archive"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A kind of file that is recognised but not read.

    Attributes:
        kind: What the file is, for the message.
        advice: What to do with it.
        outcome: What was done about it.
        error: The class of the error.
    """

    kind: str
    advice: str
    outcome: str = "Nothing was loaded."
    error: type[CheckpointError] = CheckpointError


_Reader = Callable[[CheckpointFile], tuple[str, Any]]


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and len(b"{}") <= int.from_bytes(head[:8], "little") <= _MAX_HEADER


def _is_html(head: bytes) -> bool:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}


_JSON = _Refusal(
    "JSON text, not weights", "Add a model config by registry.add_config, and give the path of the weights file here."
)


def _read_json(file: CheckpointFile) -> tuple[str, Any]:
    """Read an index of shards, the only JSON file that leads to weights."""
    return shards.read_contents(file, _read_shard) or _refuse(file, _JSON)


def _read_shard(file: CheckpointFile) -> tuple[str, dict[str, LazyTensor]]:
    if file.head.lstrip()[:1] == b"{":  # an index that names another index could form a cycle
        _refuse(file, _JSON)
    index = read_index(file)
    return index.format, dict(index.tensors)


def _refuse(file: CheckpointFile, refusal: _Refusal) -> NoReturn:
    raise refusal.error(
        f"{file.path} is {refusal.kind}. {refusal.outcome}",
        path=file.path,
        expected=_SUPPORTED,
        found=refusal.kind,
        advice=refusal.advice,
    )


_KINDS: tuple[tuple[Callable[[bytes], bool], _Reader | _Refusal], ...] = (
    (
        lambda head: not head,
        _Refusal("an empty file", "An interrupted download leaves an empty file; download it again."),
    ),
    (lambda head: head.startswith(b"PK\x03\x04"), zip_archive.read_contents),
    (_is_safetensors, lambda file: ("safetensors", safetensors.read_contents(file))),
    (
        lambda head: _is_pickle(head) and _LEGACY_MAGIC in head[:32],
        lambda file: ("legacy torch file", legacy.read_contents(file)),
    ),
    (
        _is_pickle,
        _Refusal(
            "a bare pickle, not written by torch.save",
            "Load it where it was made, and save its tensors as .safetensors.",
            "Reading it could run code. Nothing was run and nothing was loaded.",
            UnsafeCheckpointError,
        ),
    ),
    (
        _is_html,
        _Refusal(
            "an HTML page, not weights",
            "The server probably required a login, or the address was wrong. Open the address in a browser, then "
            "download the file itself.",
        ),
    ),
    (
        lambda head: head.startswith(b"version https://git-lfs"),
        _Refusal("a Git LFS pointer, not the file that it points to", "Run `git lfs pull` in its repository."),
    ),
    (lambda head: head.lstrip()[:1] in {b"{", b"["}, _read_json),
    (
        lambda head: head[257:262] == b"ustar",
        _Refusal("a tar archive", "Unpack it, and give the path of the checkpoint in it."),
    ),
    (
        lambda head: head.startswith(b"\x1f\x8b"),
        _Refusal("gzip data", "Unpack it with gunzip, and give the path of the result."),
    ),
    (
        lambda head: head.startswith(b"\x89HDF"),
        _Refusal("an HDF5 file, as Keras writes them", "Convert its tensors to .safetensors."),
    ),
)


def read_index(file: CheckpointFile) -> CheckpointIndex:
    """Return the index of an open checkpoint.

    Raises:
        UnsafeCheckpointError: Reading the file in full would run code.
        CheckpointError: The file is not a checkpoint, is truncated or damaged, or holds no state dict.
    """
    for matches, reader in _KINDS:
        if matches(file.head):
            if isinstance(reader, _Refusal):
                _refuse(file, reader)
            kind, contents = reader(file)
            return find_state_dict(contents, file.path, kind)
    start = file.head[:16]
    raise CheckpointError(
        f"{file.path} is not a checkpoint of a supported format: it starts with {start!r}. Expected {_SUPPORTED}. "
        "Nothing was loaded.",
        path=file.path,
        expected=_SUPPORTED,
        found=start,
    )
