"""Save a model into a folder that `create` can read: JSON config, safetensors weights, tokenizer files, model card."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.errors import BuildError
from registry_core.export.model_card import CARD_FILENAME, may_replace, model_card
from registry_core.fetch.repository import CONFIG_FILENAME, WEIGHTS_FILENAME
from registry_core.fetch.sources import LocalFile

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services

# The files that transformers writes for any kind of tokenizer.
TOKENIZER_FILENAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip


def save_model(services: Services, model: nn.Module, report: LoadReport, folder: Path, repo: str = "") -> Path:
    """Write the files into a folder. Each file is written completely or not at all, and the config is written last.

    Args:
        services: Services of the registry that created the model.
        model: A model whose parameters have values (no empty shell), with the tensor shapes that it was created with.
        report: Report of the model.
        folder: Where the files are written. Created if it does not exist.
        repo: Repository on the hub that the card is for. A card that a person wrote or changed is not replaced.

    Returns:
        The folder.

    Raises:
        BuildError: The model is an empty shell, or its tensor shapes were changed. Or the folder cannot be created or
            written.
    """
    _check_shapes(model, report, services)
    card = model_card(services, model, report, repo)
    tensors = distinct_tensors(model, report.name)
    _prepare_folder(folder, report.name)
    from safetensors import SafetensorError

    try:
        _write(tensors, report, folder, card)
    except (OSError, SafetensorError) as error:
        raise BuildError(
            f"{report.name} was not saved into {folder}: {error}. Each file in the folder is complete, but some may be "
            "from the previous model and some from the new one.",
            name=report.name,
            path=folder,
            found=str(error),
            advice="Free disk space or correct the permissions of the folder, then save again.",
        ) from error
    return folder


def _check_shapes(model: nn.Module, report: LoadReport, services: Services) -> None:
    """Check that the config of a model still describes its tensors.

    Raises:
        BuildError: A tensor has another shape than in the config.
    """
    from registry_core.build.uninitialised import build

    shell = build(partial(services.build, report.config, report.tower), values=False, device="meta").state_dict()
    for name, tensor in model.state_dict().items():
        if name in shell and shell[name].shape != tensor.shape:
            expected, found = list(shell[name].shape), list(tensor.shape)
            raise BuildError(
                f"{report.name} was not saved: its {name} has the shape {found}, but the shape {expected} according to "
                "its config. The model was changed after it was created, so it could not be created from the saved "
                "files. Nothing was changed on disk.",
                name=name,
                expected=expected,
                found=found,
                advice="Create the model with the override you need, such as image_size=, and load its state_dict into "
                "that model.",
            )


def _prepare_folder(folder: Path, name: str) -> None:
    """Create the folder, and check that its files can be replaced before any of them is.

    Raises:
        BuildError: The folder cannot be created, or contains a folder with the name of a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"{name} was not saved: the folder {folder} cannot be created ({error}).",
            name=name,
            path=folder,
            found=str(error),
        ) from error
    for filename in (CONFIG_FILENAME, WEIGHTS_FILENAME):
        if os.path.isdir(folder / filename):  # noqa: PTH112 - Path.is_dir can raise
            raise BuildError(
                f"{name} was not saved: {folder / filename} is a folder, but a file with this name must be written. "
                "Nothing was changed.",
                name=name,
                path=folder / filename,
                expected="a file",
                found="a folder",
                advice="Move the folder away, or save elsewhere.",
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
        # safetensors makes its files readable for the user only.
        (new / WEIGHTS_FILENAME).chmod((new / CONFIG_FILENAME).stat().st_mode)
        for path in sorted(new.iterdir(), key=lambda path: path.name == CONFIG_FILENAME):
            path.replace(folder / path.name)


def distinct_tensors(model: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """Return the state dict with each shared tensor once, under its first name.

    Loading restores the other names, since they are the same parameter in the model.

    Args:
        model: The model.
        name: Its name, for the message.

    Returns:
        Parameter and buffer names -> contiguous CPU tensors that do not overlap in memory.

    Raises:
        BuildError: The tensors are on the meta device and have no values.
    """
    seen: set[int] = set()
    distinct = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_meta:
            raise BuildError(
                f"{name} was not saved: its {key} has no values. The model is an empty shell, created with "
                "device='meta'.",
                name=key,
                advice="Create it on a real device.",
            )
        if id(tensor) not in seen:
            seen.add(id(tensor))
            distinct[key] = tensor.detach().cpu().contiguous()
    return _without_overlaps(distinct)


def _without_overlaps(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy each tensor that overlaps another one in memory; safetensors refuses to write such tensors."""
    end = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: item[1].data_ptr()):
        start = tensor.data_ptr()
        if start < end:
            tensors[key] = tensor.clone()
        end = max(end, start + tensor.nbytes)
    return tensors


def _tokenizer_files(report: LoadReport) -> list[Path]:
    """Return the tokenizer files of the folder that the model was created from, or that its config names.

    A tokenizer from elsewhere needs no files: the saved config names it.
    """
    folders = []
    if report.home is not None and isinstance(report.home.config, LocalFile):
        folders.append(report.home.config.path.parent)
    named = report.config.text_cfg.hf_tokenizer_name
    if named and os.path.isdir(os.path.expanduser(named)):  # noqa: PTH111, PTH112 - these never raise
        folders.append(Path(named).expanduser())
    found = ([folder / name for name in TOKENIZER_FILENAMES if (folder / name).is_file()] for folder in folders)
    return next(filter(None, found), [])


def _warn_of_other_tokenizers(report: LoadReport, folder: Path, own: set[str]) -> None:
    """Warn if the folder contains files of another tokenizer, which `create` would use for the saved model."""
    name = report.config.text_cfg.hf_tokenizer_name
    others = [other for other in TOKENIZER_FILENAMES if other not in own and os.path.isfile(folder / other)]  # noqa: PTH113
    if name is not None and others:
        warnings.warn(
            f"{folder} contains {', '.join(others)}, which do not belong to {report.name}. A model created from "
            f"local-dir:{folder} uses them as its tokenizer instead of {name!r}. Remove them if they belong to another "
            "model.",
            UserWarning,
            stacklevel=5,
        )


def _config(report: LoadReport) -> dict[str, Any]:
    """Return the config in the format of hub repositories, with the architecture and all sizes stated."""
    raw = report.config.raw()
    if raw["text_cfg"]["tokenizer_kwargs"] is None:  # open_clip's get_tokenizer expects a mapping or no such key
        del raw["text_cfg"]["tokenizer_kwargs"]
    preprocess = {**raw.pop("preprocess_cfg"), "size": list(report.config.image_size)}
    return {"architecture": raw.pop("architecture"), "model_cfg": raw, "preprocess_cfg": preprocess}
