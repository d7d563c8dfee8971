"""Tables of models and tags: JSON Lines files next to the code of a plugin, read on first use.

One line for each model or tag is easier to read, diff and search than one file for each model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from registry_core.fetch.sources import HubFile, Source, Url, Weights

# File names to try if a source names a hub repository but no file. Safe serialisations are first.
HUB_FILENAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
)

_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color", "size")

TagTable = Mapping[tuple[str, str], Mapping[str, Any]]


class ModelTable(dict[str, Mapping[str, Any]]):
    """Raw configs by model name. `origin` is the file that they were read from."""

    origin = ""


def model_table(package: str, filename: str = "models.jsonl") -> Callable[[], ModelTable]:
    """Return a function that reads a table of raw configs.

    Each line of the file is an object with a `name` in addition to the config keys.
    """

    @cache
    def read() -> ModelTable:
        table = ModelTable((row.pop("name"), row) for row in _rows(package, filename))
        table.origin = str(files(package).joinpath(filename))
        return table

    return read


def tag_table(package: str, filename: str = "pretrained.jsonl") -> Callable[[], TagTable]:
    """Return a function that reads a table of tags.

    Each line of the file is an object with `model`, `tag` and the keys that `tag_weights` takes.
    """

    @cache
    def read() -> TagTable:
        return {(row.pop("model"), row.pop("tag")): row for row in _rows(package, filename)}

    return read


def tag_weights(tag: str, row: Mapping[str, Any]) -> Weights:
    """Return the weights that a row of a tag table describes.

    Args:
        tag: Name of the tag.
        row: The keys `hf_hub` ("org/repo/file", or "org/repo/" for the usual file names), `url`, `sha256_prefix` (for
            the file at `url` only), and the preprocessing keys. `quick_gelu` is given if the value that the weights
            need is known, and `licence` if the licence is known.
    """
    sources: list[Source] = []
    if "hf_hub" in row:
        organisation, repository, filename = row["hf_hub"].split("/", 2)
        sources.append(HubFile(f"{organisation}/{repository}", (filename,) if filename else HUB_FILENAMES))
    if "url" in row:
        sources.append(Url(row["url"], row.get("sha256_prefix", "")))
    stated: dict[str, Any] = {"preprocess_cfg": {key: row[key] for key in _PREPROCESS_KEYS if key in row}}
    if "quick_gelu" in row:
        stated["quick_gelu"] = row["quick_gelu"]
    return Weights(tuple(sources), tag, stated, licence=row.get("licence", ""))


def tag_row(weights: Weights) -> dict[str, Any]:
    """Return the row from which `tag_weights` makes these weights."""
    row: dict[str, Any] = {}
    for source in weights.sources:
        if isinstance(source, HubFile):
            row["hf_hub"] = f"{source.repo}/{'' if source.filenames == HUB_FILENAMES else source.filenames[0]}"
        elif isinstance(source, Url):
            row.update({"url": source.url} | ({"sha256_prefix": source.sha256_prefix} if source.sha256_prefix else {}))
    row.update(weights.stated.get("preprocess_cfg", {}))
    row.update({key: value for key, value in weights.stated.items() if key != "preprocess_cfg"})
    return row | ({"licence": weights.licence} if weights.licence else {})


def _rows(package: str, filename: str) -> list[dict[str, Any]]:
    text = files(package).joinpath(filename).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
