"""Tags and the files of their weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from registry_core import LookupFailedError, OverrideError, UnknownWeightsError, Url, Weights, registry, tag_weights
from registry_core.config.model import OPENAI_MEAN, OPENAI_STD
from registry_core.config.names import ModelName
from registry_core.config.tables import tag_row

Row = dict[str, Any]
# The values of open_clip for keys that a tag does not state.
_DEFAULTS = {
    "url": "", "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip
_SLASHES = 2  # of "org/repo/file"


@overload
def list_pretrained() -> list[tuple[str, str]]: ...


@overload
def list_pretrained(as_str: bool) -> list[tuple[str, str]] | list[str]: ...


def list_pretrained(as_str: bool = False) -> list[tuple[str, str]] | list[str]:
    """Return all (model, tag) pairs, or with `as_str` strings "model:tag"."""
    pairs = registry.list_pretrained()
    return [f"{model}:{tag}" for model, tag in pairs] if as_str else pairs


def list_pretrained_models_by_tag(tag: str) -> list[str]:
    """Return the models that have a tag, including derived models."""
    wanted = clean_tag(tag)
    return [model for model, known in registry.list_pretrained() if known == wanted]


def list_pretrained_tags_by_model(model: str) -> list[str]:
    """Return the tags of a model. An unknown model has none."""
    return [tag for known, tag in registry.list_pretrained() if known == model]


def is_pretrained_cfg(model: str, tag: str) -> bool:
    """Whether a model has a tag."""
    return (model, clean_tag(tag)) in registry.list_pretrained()


def get_pretrained_cfg(model: str, tag: str) -> Row:
    """Return the source of a tag's weights and their config: url, hf_hub, mean, std, quick_gelu, ...; {} if unknown."""
    try:
        weights = registry.services.find_tag(model, clean_tag(tag))
    except LookupFailedError:
        return {}
    return {} if weights is None else {**_DEFAULTS, **tag_row(weights)}


def get_pretrained_url(model: str, tag: str) -> str:
    """Return the URL of a tag's weights, or an empty string."""
    url: str = get_pretrained_cfg(model, tag).get("url", "")
    return url


def download_pretrained_from_url(url: str, cache_dir: str | None = None) -> str:
    """Download the file of a URL unless it is cached, and return its path in the cache.

    The file is verified if its hash is known.

    Raises:
        FetchError: The file cannot be downloaded, or has the wrong hash.
    """
    known = (source for source in _sources_of_tags() if source.url == url)
    return _fetched(Weights((next(known, Url(url)),)), cache_dir)


def download_pretrained(cfg: Mapping[str, Any] | None, prefer_hf_hub: bool = True, cache_dir: str | None = None) -> str:
    """Download the file of a `get_pretrained_cfg` unless it is cached, and return its path; "" if `cfg` is empty.

    Args:
        cfg: A dict with `file`, `url` or `hf_hub`.
        prefer_hf_hub: Try `hf_hub` before `url`.
        cache_dir: Where downloads are kept.

    Raises:
        UnknownWeightsError: `hf_hub` does not have the form "org/repo/file" or "org/repo/".
        FetchError: The file cannot be downloaded, or has the wrong hash.
    """
    if not cfg:
        return ""
    if "file" in cfg:
        return str(cfg["file"])
    row = {key: value for key, value in cfg.items() if value not in (None, "")}
    if row.get("hf_hub", "//").count("/") < _SLASHES:
        raise UnknownWeightsError(
            f"hf_hub={row['hf_hub']!r}: expected 'org/repo/file' or 'org/repo/'. Nothing was fetched.",
            name=row["hf_hub"],
            argument="cfg",
            expected="'org/repo/file' or 'org/repo/'",
            found=row["hf_hub"],
        )
    sources = tag_weights("", row).sources
    ordered = sources if prefer_hf_hub else sources[::-1]
    return _fetched(Weights(ordered), cache_dir) if ordered else ""


def clean_tag(tag: str) -> str:
    """Return a tag as it is written in the tables: in lower case, with underscores."""
    return tag.lower().replace("-", "_")


def weights_argument(
    name: str, pretrained: str | os.PathLike[str] | None, *, load: bool, required: bool
) -> str | os.PathLike[str] | bool | None:
    """Return the `pretrained` argument of `registry.create` for the arguments of open_clip's `create_model`.

    Raises:
        UnknownWeightsError: Weights are required, and neither the arguments nor a model repository provide them.
    """
    if not load:
        return False
    if pretrained:
        if not isinstance(pretrained, str):
            return pretrained
        plain_name = ModelName.parse(name).name
        return clean_tag(pretrained) if is_pretrained_cfg(plain_name, pretrained) else pretrained
    if required and registry.services.resolve(name).home is None:
        raise UnknownWeightsError(
            f"{name} must have weights here, and pretrained={pretrained!r} does not name any. Nothing was built.",
            name=name,
            argument="pretrained",
            found=pretrained,
            advice="Give a tag or a path, or use create_model, which also creates a model without weights.",
        )
    return None


def refuse_tower_weights(wanted: bool, path: str | None) -> None:
    """Raise an OverrideError if timm's own weights of the image tower are asked for, without a path."""
    if wanted and path is None:
        raise OverrideError(
            "pretrained_image=True asks for timm's own weights of the image tower, which are not fetched here. Nothing "
            "was built.",
            argument="pretrained_image",
            found=wanted,
            advice="Download them, and give their file as pretrained_image_path.",
        )


def _fetched(weights: Weights, cache_dir: str | None) -> str:
    return str(registry.services.fetch(weights, None if cache_dir is None else Path(cache_dir)).path)


def _sources_of_tags() -> Iterator[Url]:
    """Return the URLs of all tags, with their hashes."""
    derived = registry.services.catalog.derived_models()
    for model, tag in registry.list_pretrained():
        weights = None if model in derived else registry.services.find_tag(model, tag)
        yield from (source for source in (weights.sources if weights else ()) if isinstance(source, Url))
