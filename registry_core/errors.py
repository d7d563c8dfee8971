"""Everything that registry_core raises on purpose.

    RegistryError
    |-- LookupFailedError ..... a name that leads nowhere, or to two places
    |   |-- UnknownModelError       no plugin answers the model name
    |   |-- UnknownWeightsError     neither a tag of the model nor a file
    |   |-- ConflictError           two answers where there must be one
    |   `-- TakenNameError          add_config with a name that a model already has
    |-- ConfigError ........... a model config that does not validate
    |   `-- OverrideError           the same, caused by an argument of the caller
    |-- PluginError ........... a plugin that cannot be loaded, or whose hook failed
    |-- BuildError ............ a model that cannot be built, or a tower that is absent
    |-- InputError ............ a tensor or an option that a model's method does not take
    |-- FetchError ............ bytes that could not be brought here
    |   |-- OfflineError            they are not here, and the network is forbidden
    |   `-- IntegrityError          bytes that are not the expected ones
    `-- CheckpointError ....... a file that cannot be read as a checkpoint
        |-- UnsafeCheckpointError   reading it would run code
        `-- StateDictError          read well, but its tensors are not this model's

A message says what was asked, what was expected, what was found, what was done about it and what to do next.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class RegistryError(Exception):
    """Base of every error that registry_core raises on purpose."""


class LookupFailedError(RegistryError):
    """A name that leads nowhere, or to two places."""


class UnknownModelError(LookupFailedError):
    """No plugin answers the model name."""


class UnknownWeightsError(LookupFailedError):
    """The given weights are neither a tag of the model nor a file."""


class ConflictError(LookupFailedError):
    """Two plugins gave an answer where there must be one."""


class TakenNameError(LookupFailedError):
    """A config was added under a name that a model already has."""


class ConfigError(RegistryError):
    """A model config that does not validate."""


class OverrideError(ConfigError):
    """An argument of the caller that is no config key, or has the wrong type."""


class PluginError(RegistryError):
    """A plugin that cannot be loaded, or one of whose hooks failed."""


class BuildError(RegistryError):
    """A model that cannot be built as asked, or a tower that is not there."""


class InputError(RegistryError, ValueError):
    """A tensor or an option that a model's method does not take."""


class FetchError(RegistryError):
    """Bytes that could not be brought to this machine."""


class OfflineError(FetchError):
    """Bytes that are not on this machine, while REGISTRY_CORE_OFFLINE or HF_HUB_OFFLINE forbids the network."""


class IntegrityError(FetchError):
    """Bytes that are not the expected ones."""


class CheckpointError(RegistryError):
    """A file that cannot be read as a checkpoint."""


class UnsafeCheckpointError(CheckpointError):
    """Reading the file in full would run code that it brings."""


class StateDictError(CheckpointError):
    """The checkpoint was read, but its tensors are not those of the model."""


class RandomWeightsWarning(UserWarning):
    """A model was created with random weights, and nobody said that this is meant."""


def close_names(name: str, known: Iterable[str], most: int = 4) -> list[str]:
    """The known names most like `name`, best first; case does not count."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=most, cutoff=0.6)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean a, b?` with the close names, or nothing."""
    close = close_names(name, known)
    return f" Did you mean {', '.join(close)}?" if close else ""


def listing(items: Iterable[str], most: int = 12) -> str:
    """`a, b, c and 5 more`, for messages."""
    names = list(items)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
