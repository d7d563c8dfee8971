"""Overrides: arguments of the caller win over values that the weights state, and these win over the model's config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry_core.config.model import ModelConfig, RawConfig, merged
from registry_core.errors import ConfigError, OverrideError, close_names, did_you_mean, listing
from registry_core.fetch.sources import Weights

# Argument of create() -> the key in the config.
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
# Plugins recognise their configs by these keys; overriding one resolves the owner again.
_RECOGNISED_BY = frozenset({"custom_text"})
NESTED_OVERRIDES = ("vision_cfg", "text_cfg", "multimodal_cfg", "preprocess_cfg")


@dataclass(frozen=True, slots=True)
class Setting:
    """A config key whose value differs from the model's own config.

    Attributes:
        key: Dotted key, such as "vision_cfg.image_size".
        value: The value that is used.
        by: Who set it: "the caller" or "tag 'openai'".
    """

    key: str
    value: Any
    by: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value} (by {self.by})"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """The config after all overrides.

    Attributes:
        config: The config to build.
        trained: The config that the weights were trained with: before the caller's overrides.
        settings: Each key that was overridden, and by whom.
    """

    config: ModelConfig
    trained: ModelConfig
    settings: list[Setting]


def apply_overrides(
    config: ModelConfig,
    weights: Weights | None,
    overrides: Mapping[str, Any],
    claim: Callable[[RawConfig, str], ModelConfig],
) -> ResolvedConfig:
    """Apply to a config the values that the weights state, then the caller's overrides.

    Args:
        config: The model's own config.
        weights: The weights, or None. The keys in `stated` are applied; the other keys keep their values.
        overrides: The caller's overrides, flat or nested.
        claim: Returns the validated form of a raw config, as its owner does.

    Raises:
        OverrideError: An override is not a config key, or has the wrong type.
    """
    stated = dict(weights.stated) if weights else {}
    given = _expand(overrides)
    trained = claim(merged(config.raw(), stated), "the weights' tag") if stated else config
    final = _overridden(trained, given, overrides, claim) if given else trained
    by_tag = _settings(stated, given, config.raw(), str(weights))
    by_caller = _settings(given, {}, {}, "the caller")
    return ResolvedConfig(final, trained, [*by_tag, *by_caller])


def _overridden(
    trained: ModelConfig,
    given: dict[str, Any],
    overrides: Mapping[str, Any],
    claim: Callable[[RawConfig, str], ModelConfig],
) -> ModelConfig:
    """Return the config with the given keys. `overrides` are the same keys as the caller's arguments."""
    base = dict(trained.raw())
    if _RECOGNISED_BY & given.keys():
        base.pop("architecture", None)
    # A recorded preprocessing size belongs to the config's image_size. It is dropped if the caller changes image_size;
    # the caller's own preprocessing size still wins.
    resized = "image_size" in given.get("vision_cfg", {})
    changes = merged({"preprocess_cfg": {"size": None}}, given) if resized else given
    try:
        return claim(merged(base, changes), "the given overrides")
    except ConfigError as error:
        raise OverrideError(
            f"An override does not fit the model's config. {error}",
            argument=_argument_at_fault(overrides, error.problems),
            problems=error.problems,
            suggestions=error.suggestions,
        ) from error


def _argument_at_fault(overrides: Iterable[str], problems: Iterable[str]) -> str | None:
    """Return the first argument of the caller that sets a key with a problem, or None if there is no such argument."""
    for name in overrides:
        prefix = ".".join(FLAT_OVERRIDES.get(name, (name,))) + "."
        if any(f"{key}.".startswith(prefix) for key in problems):
            return name
    return None


def _expand(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the caller's arguments into config keys."""
    result: dict[str, Any] = {}
    for name, value in overrides.items():
        if name in NESTED_OVERRIDES:
            if not isinstance(value, Mapping):
                raise OverrideError(
                    f"{name}={value!r}: expected a mapping of config keys. Nothing was built.",
                    argument=name,
                    expected="a mapping of config keys",
                    found=value,
                )
            result = merged(result, {name: dict(value)})
        elif name in FLAT_OVERRIDES:
            nested: Any = value
            for key in reversed(FLAT_OVERRIDES[name]):
                nested = {key: nested}
            result = merged(result, nested)
        else:
            raise _unknown(name)
    return result


def _unknown(name: str) -> OverrideError:
    known = [*FLAT_OVERRIDES, *NESTED_OVERRIDES]
    return OverrideError(
        f"create() has no argument {name!r}.{did_you_mean(name, known)} Overrides are {listing(known)}; any "
        "other config key goes into vision_cfg={...} or text_cfg={...}. Nothing was built.",
        argument=name,
        expected=known,
        suggestions=close_names(name, known),
    )


def _settings(values: RawConfig, overridden_by: RawConfig, known: RawConfig, by: str) -> list[Setting]:
    """Return the keys of `values` that have an effect: not overridden again, and different from the config."""
    overruled, before = dict(_flat(overridden_by)), dict(_flat(known))
    return [
        Setting(key, value, by)
        for key, value in _flat(values)
        if key not in overruled and (key not in before or _plain(before[key]) != _plain(value))
    ]


def _flat(raw: RawConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a raw config and their values."""
    for key, value in raw.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> Any:
    """Return a tuple as a list, as JSON has it, so that the two compare equal."""
    return list(value) if isinstance(value, tuple) else value
