"""Tables of models and tags: JSON Lines beside a plugin's code, read on first use.

One model or tag a line reads, diffs and searches better than one file a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from registry_core.weights import HubFile, Source, Url, Weights

# Where a hub repository names no file, these are tried; safe serialisations first.
HUB_FILENAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
)

_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color", "size")

TagTable = Mapping[tuple[str, str], Mapping[str, Any]]


class ModelTable(dict[str, Mapping[str, Any]]):
    """Raw configs by name, with the file that they are from."""

    origin = ""


def model_table(package: str, filename: str = "models.jsonl") -> Callable[[], ModelTable]:
    """A function that reads a table of raw configs: one object a line, its `name` beside the config keys."""

    @cache
    def read() -> ModelTable:
        table = ModelTable((row.pop("name"), row) for row in _rows(package, filename))
        table.origin = str(files(package).joinpath(filename))
        return table

    return read


def tag_table(package: str, filename: str = "pretrained.jsonl") -> Callable[[], TagTable]:
    """A function that reads a table of tags: one object a line, with `model`, `tag` and what `tag_weights` takes."""

    @cache
    def read() -> TagTable:
        return {(row.pop("model"), row.pop("tag")): row for row in _rows(package, filename)}

    return read


def tag_weights(tag: str, row: Mapping[str, Any]) -> Weights:
    """The weights that a row describes.

    Args:
        tag: the tag's name.
        row: `hf_hub` ("org/repo/file", or "org/repo/" for the usual file names), `url`, `sha256_prefix` (of the file
            at `url` only), preprocessing keys, `quick_gelu` where the weights are known to need one or the other, and
            `licence` where it is known.
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
    """The row that `tag_weights` makes these weights of."""
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
