"""A model into a folder that reads back: config as JSON, weights as safetensors, the tokenizer's files, a card."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.checkpoint.card import CARD_FILENAME, may_replace, model_card
from registry_core.errors import BuildError
from registry_core.weights import LocalFile

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.services import Services

CONFIG_FILENAME = "open_clip_config.json"
WEIGHTS_FILENAME = "open_clip_model.safetensors"

# What transformers writes for a tokenizer, whatever its kind.
TOKENIZER_FILENAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip


def save_model(services: Services, model: nn.Module, report: LoadReport, folder: Path, repo: str = "") -> Path:
    """Write the files, each complete or not there, the config last. Returns the folder.

    Args:
        services: of the registry that created the model.
        model: not an empty shell, and as it was created but for its values.
        report: of the model.
        folder: made if need be.
        repo: that the files are for, for the card; a card that a person wrote or changed stays.

    Raises:
        BuildError: the model is an empty shell or was given other shapes, or the folder cannot be made or written.
    """
    _refuse_changed(model, report, services)
    card = model_card(services, model, report, repo)
    tensors = distinct_tensors(model, report.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{report.name} was not saved: {folder} cannot be made a folder ({error}).") from error
    blocked = next((n for n in (CONFIG_FILENAME, WEIGHTS_FILENAME) if os.path.isdir(folder / n)), None)  # noqa: PTH112 - never raises
    if blocked is not None:  # before anything is replaced
        raise BuildError(
            f"{report.name} was not saved: {folder / blocked} is a folder, and a file of that name is to be written. "
            "Nothing was changed. Move it away, or save elsewhere."
        )
    from safetensors import SafetensorError

    try:
        _write(tensors, report, folder, card)
    except (OSError, SafetensorError) as error:
        raise BuildError(
            f"{report.name} was not saved into {folder}: {error}. Each file in it is whole, old or new, "
            "but they may be of two models until you save again. Make room, or correct its permissions, first."
        ) from error
    return folder


def _refuse_changed(model: nn.Module, report: LoadReport, services: Services) -> None:
    """Refuse a model whose config would not make it again.

    Raises:
        BuildError: a tensor has another shape than its config gives it.
    """
    from registry_core.build import build

    shell = build(partial(services.build, report.config, report.tower), values=False, device="meta").state_dict()
    for name, tensor in model.state_dict().items():
        if name in shell and shell[name].shape != tensor.shape:
            raise BuildError(
                f"{report.name} was not saved: its {name} has the shape {list(tensor.shape)}, and its config gives it "
                f"{list(shell[name].shape)}. It was changed after it was created, so what is written would not give it "
                "back. Nothing was changed. Create it with what is meant, such as image_size=, and load its state_dict."
            )


def _write(tensors: dict[str, torch.Tensor], report: LoadReport, folder: Path, card: str) -> None:
    from safetensors.torch import save_file

    tokenizer = _tokenizer_files(report)
    _warn_of_other_tokenizers(report, folder, {path.name for path in tokenizer})
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        new = Path(temporary)
        save_file(tensors, new / WEIGHTS_FILENAME, metadata={"format": "pt"})
        for path in tokenizer:
            shutil.copyfile(path, new / path.name)
        if may_replace(folder / CARD_FILENAME):
            (new / CARD_FILENAME).write_text(card, encoding="utf-8", newline="\n")
        (new / CONFIG_FILENAME).write_text(json.dumps(_config(report), indent=2) + "\n", encoding="utf-8")
        # safetensors lets nobody but the user read what it writes.
        (new / WEIGHTS_FILENAME).chmod((new / CONFIG_FILENAME).stat().st_mode)
        for path in sorted(new.iterdir(), key=lambda path: path.name == CONFIG_FILENAME):
            path.replace(folder / path.name)


def distinct_tensors(model: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """The state dict with each shared tensor under its first name only, on the CPU, contiguous, no two overlapping.

    Loading gives the other names back, since they are the same parameter in the model.

    Raises:
        BuildError: tensors without memory; `name` is the model's, for the message.
    """
    seen: set[int] = set()
    distinct = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_meta:
            raise BuildError(
                f"{name} was not saved: its {key} has no values, since device='meta' makes an empty shell. Create it "
                "on a real device."
            )
        if id(tensor) not in seen:
            seen.add(id(tensor))
            distinct[key] = tensor.detach().cpu().contiguous()
    return _apart(distinct)


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy of each tensor that lies over another one's memory, which safetensors refuses to write."""
    end = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: item[1].data_ptr()):
        start = tensor.data_ptr()
        if start < end:
            tensors[key] = tensor.clone()
        end = max(end, start + tensor.nbytes)
    return tensors


def _tokenizer_files(report: LoadReport) -> list[Path]:
    """Those of the folder that the model is from or its config names; one elsewhere is found again by its name."""
    folders = []
    if report.home is not None and isinstance(report.home.config, LocalFile):
        folders.append(report.home.config.path.parent)
    named = report.config.text_cfg.hf_tokenizer_name
    if named and os.path.isdir(os.path.expanduser(named)):  # noqa: PTH111, PTH112 - these never raise
        folders.append(Path(named).expanduser())
    held = ([folder / name for name in TOKENIZER_FILENAMES if (folder / name).is_file()] for folder in folders)
    return next(filter(None, held), [])


def _warn_of_other_tokenizers(report: LoadReport, folder: Path, own: set[str]) -> None:
    """Tell of files in the folder that would be the model's tokenizer there, and that it does not bring itself."""
    name = report.config.text_cfg.hf_tokenizer_name
    others = [other for other in TOKENIZER_FILENAMES if other not in own and os.path.isfile(folder / other)]  # noqa: PTH113
    if name is not None and others:
        warnings.warn(
            f"{folder} holds {', '.join(others)}, which {report.name} does not bring. local-dir:{folder} takes them "
            f"for its tokenizer, instead of {name!r}. Remove them if they are another model's.",
            UserWarning,
            stacklevel=5,
        )


def _config(report: LoadReport) -> dict[str, Any]:
    """The hub's form of a config, with the architecture beside it; sizes that were implied are written out."""
    raw = report.config.raw()
    if raw["text_cfg"]["tokenizer_kwargs"] is None:  # open_clip's get_tokenizer takes a mapping or no such key
        del raw["text_cfg"]["tokenizer_kwargs"]
    preprocess = {**raw.pop("preprocess_cfg"), "size": list(report.config.image_size)}
    return {"architecture": raw.pop("architecture"), "model_cfg": raw, "preprocess_cfg": preprocess}
