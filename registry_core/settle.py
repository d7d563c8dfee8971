"""Who decides what: the caller's word goes before what the weights are known to need, and that before the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry_core.config import ModelConfig, RawConfig, merged
from registry_core.errors import ConfigError, OverrideError, did_you_mean, listing
from registry_core.report import Setting
from registry_core.weights import Weights

# Flat names that callers know -> the key in the config.
FLAT_OVERRIDES = {
    "image_size": ("vision_cfg", "image_size"),
    "patch_dropout": ("vision_cfg", "patch_dropout"),
    "context_length": ("text_cfg", "context_length"),
    "quick_gelu": ("quick_gelu",),
    "init_logit_scale": ("init_logit_scale",),
    "init_logit_bias": ("init_logit_bias",),
    "nonscalar_logit_scale": ("nonscalar_logit_scale",),
    "custom_text": ("custom_text",),
}
# By these plugins know whose a config is: where the caller changes one, its owner is asked for anew.
_TELLING = frozenset({"custom_text"})
NESTED_OVERRIDES = ("vision_cfg", "text_cfg", "multimodal_cfg", "preprocess_cfg")


@dataclass(frozen=True, slots=True)
class Settled:
    """The config to build, what the weights were trained with, and who decided what."""

    config: ModelConfig
    trained: ModelConfig
    settings: list[Setting]


def settle(
    config: ModelConfig,
    weights: Weights | None,
    overrides: Mapping[str, Any],
    claim: Callable[[RawConfig, str], ModelConfig],
) -> Settled:
    """Lay what the weights state, then what the caller says, over a config.

    Args:
        config: the model's own.
        weights: their `stated` keys count; what they do not state says nothing.
        overrides: of the caller, flat or nested.
        claim: validates a raw config, as its owner does.

    Raises:
        OverrideError: an override is no config key, or has the wrong type.
    """
    stated = dict(weights.stated) if weights else {}
    said = _expand(overrides)
    trained = claim(merged(config.raw(), stated), "the weights' tag") if stated else config
    final = trained
    if said:
        # A recorded picture size is that of the config's own image_size; it follows the caller's, unless he says both.
        resized = "image_size" in said.get("vision_cfg", {})
        laid = merged({"preprocess_cfg": {"size": None}}, said) if resized else said
        try:
            own = {
                key: value
                for key, value in trained.raw().items()
                if key != "architecture" or not _TELLING & said.keys()
            }
            final = claim(merged(own, laid), "the given overrides")
        except ConfigError as error:
            raise OverrideError(f"An override does not fit the model's config. {error}") from error
    by_tag = _settings(stated, said, config.raw(), str(weights))
    by_caller = _settings(said, {}, {}, "the caller")
    return Settled(final, trained, [*by_tag, *by_caller])


def _expand(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Flat names to config keys."""
    result: dict[str, Any] = {}
    for name, value in overrides.items():
        if name in NESTED_OVERRIDES:
            if not isinstance(value, Mapping):
                raise OverrideError(f"{name}={value!r}: expected a mapping of config keys. Nothing was built.")
            result = merged(result, {name: dict(value)})
        elif name in FLAT_OVERRIDES:
            nested: Any = value
            for key in reversed(FLAT_OVERRIDES[name]):
                nested = {key: nested}
            result = merged(result, nested)
        else:
            known = [*FLAT_OVERRIDES, *NESTED_OVERRIDES]
            raise OverrideError(
                f"create() has no argument {name!r}.{did_you_mean(name, known)} Overrides are {listing(known)}; any "
                "other config key goes into vision_cfg={...} or text_cfg={...}. Nothing was built."
            )
    return result


def _settings(values: RawConfig, beaten_by: RawConfig, known: RawConfig, by: str) -> list[Setting]:
    """The keys of `values` that count: not overruled, and not what the config said already."""
    overruled, before = dict(_flat(beaten_by)), dict(_flat(known))
    return [
        Setting(key, value, by)
        for key, value in _flat(values)
        if key not in overruled and (key not in before or _plain(before[key]) != _plain(value))
    ]


def _flat(raw: RawConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in raw.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
