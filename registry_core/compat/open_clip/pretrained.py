"""Tags and their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from registry_core import LookupFailedError, UnknownWeightsError, Url, Weights, registry, tag_weights
from registry_core.config import OPENAI_MEAN, OPENAI_STD
from registry_core.tables import tag_row

Row = dict[str, Any]
# What a tag says that says nothing of it.
_SILENT = {
    "url": "", "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip
_SLASHES = 2  # of "org/repo/file"


@overload
def list_pretrained() -> list[tuple[str, str]]: ...


@overload
def list_pretrained(as_str: bool) -> list[tuple[str, str]] | list[str]: ...


def list_pretrained(as_str: bool = False) -> list[tuple[str, str]] | list[str]:
    """All (model, tag) pairs, or "model:tag" texts."""
    pairs = registry.list_pretrained()
    return [f"{model}:{tag}" for model, tag in pairs] if as_str else pairs


def list_pretrained_models_by_tag(tag: str) -> list[str]:
    """The models that have a tag; those that are derived from them too."""
    wanted = clean_tag(tag)
    return [model for model, known in registry.list_pretrained() if known == wanted]


def list_pretrained_tags_by_model(model: str) -> list[str]:
    """The tags of a model; none of one that is not known."""
    return [tag for known, tag in registry.list_pretrained() if known == model]


def is_pretrained_cfg(model: str, tag: str) -> bool:
    """Whether a model has a tag."""
    return (model, clean_tag(tag)) in registry.list_pretrained()


def get_pretrained_cfg(model: str, tag: str) -> Row:
    """Where a tag's weights are and what they need: url, hf_hub, mean, std, quick_gelu ...; {} for one that is not."""
    try:
        weights = registry.services.find_tag(model, clean_tag(tag))
    except LookupFailedError:
        return {}
    return {} if weights is None else {**_SILENT, **tag_row(weights)}


def get_pretrained_url(model: str, tag: str) -> str:
    """The URL of a tag's weights, or an empty text."""
    url: str = get_pretrained_cfg(model, tag).get("url", "")
    return url


def download_pretrained_from_url(url: str, cache_dir: str | None = None) -> str:
    """The path of a URL's file in the cache; it is fetched if it is not there, and verified if its hash is known.

    Raises:
        FetchError: it cannot be had, or is not what it should be.
    """
    known = (source for source in _sources_of_tags() if source.url == url)
    return _fetched(Weights((next(known, Url(url)),)), cache_dir)


def download_pretrained(cfg: Mapping[str, Any] | None, prefer_hf_hub: bool = True, cache_dir: str | None = None) -> str:
    """The path of the file that a `get_pretrained_cfg` leads to, in the cache; an empty text for an empty one.

    Args:
        cfg: `file`, `url` or `hf_hub`.
        prefer_hf_hub: of `url` and `hf_hub`, which is tried first.
        cache_dir: where downloads are kept.

    Raises:
        FetchError: it cannot be had, or is not what it should be.
    """
    if not cfg:
        return ""
    if "file" in cfg:
        return str(cfg["file"])
    said = {key: value for key, value in cfg.items() if value not in (None, "")}
    if said.get("hf_hub", "//").count("/") < _SLASHES:
        raise UnknownWeightsError(
            f"hf_hub={said['hf_hub']!r}: expected 'org/repo/file' or 'org/repo/'. Nothing was fetched."
        )
    sources = tag_weights("", said).sources
    ordered = sources if prefer_hf_hub else sources[::-1]
    return _fetched(Weights(ordered), cache_dir) if ordered else ""


def clean_tag(tag: str) -> str:
    """A tag as it is written in the tables: lower case, with underscores."""
    return tag.lower().replace("-", "_")


def _fetched(weights: Weights, cache_dir: str | None) -> str:
    return str(registry.services.fetch(weights, None if cache_dir is None else Path(cache_dir)).path)


def _sources_of_tags() -> Iterator[Url]:
    """The URLs of all tags, with their hashes."""
    derived = registry.services.lookup.derived_models()
    for model, tag in registry.list_pretrained():
        weights = None if model in derived else registry.services.find_tag(model, tag)
        yield from (source for source in (weights.sources if weights else ()) if isinstance(source, Url))
