"""Every error that registry_core raises on purpose.

    RegistryError
    |-- LookupFailedError ..... a name that leads nowhere, or to two answers
    |   |-- UnknownModelError       no plugin knows the model name
    |   |-- UnknownWeightsError     neither a tag of the model nor a file
    |   |-- ConflictError           two answers where there must be one
    |   `-- TakenNameError          add_config with the name of an existing model
    |-- ConfigError ........... a model config that does not validate
    |   `-- OverrideError           the same, caused by an argument of the caller
    |-- PluginError ........... a plugin that cannot be loaded, or whose hook failed
    |-- BuildError ............ a model that cannot be built, or a tower that is absent
    |-- InputError ............ a tensor or an option that a model's method does not accept
    |-- FetchError ............ bytes that could not be downloaded or copied
    |   |-- OfflineError            not on this machine, and the network is forbidden
    |   `-- IntegrityError          bytes that differ from the expected ones
    `-- CheckpointError ....... a file that cannot be read as a checkpoint
        |-- UnsafeCheckpointError   reading it would run code
        `-- StateDictError          readable, but its tensors do not fit the model

A message says what was asked, what was expected, what was found, what was done about it and what to do next. The same
facts are attributes of the error, so that programs need not parse the message.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

_NOTHING: Mapping[str, str] = MappingProxyType({})


class ErrorFacts(TypedDict, total=False):
    """The facts that an error can carry. Each class below documents the ones it has."""

    name: str | None
    argument: str | None
    path: Path
    expected: Any
    found: Any
    advice: str
    suggestions: Sequence[str]
    plugins: Sequence[str]
    problems: Mapping[str, str]
    plugin: str
    hook: str
    tower: str
    url: str
    status: int
    variable: str
    missing: Sequence[str]
    unexpected: Sequence[str]
    misshaped: Mapping[str, str]


class RegistryError(Exception):
    """Base of every error that registry_core raises on purpose.

    Args:
        message: What happened, what was expected and found, and what was done about it.
        **facts: The attributes below and those of the subclass. `advice` is appended to the message.

    Attributes:
        name: The model, tag, plugin, key or file name that the error is about, or None.
        argument: The argument or option of the caller that caused the error, or None.
        path: The file or folder that the error is about, or None.
        expected: What would have been accepted, or None.
        found: What was found instead, or None.
        advice: What to do next. Empty if the message says it all.
    """

    name: str | None = None
    argument: str | None = None
    path: Path | None = None
    expected: Any = None
    found: Any = None
    advice: str = ""

    def __init__(self, message: str = "", **facts: Unpack[ErrorFacts]) -> None:
        text = str(message)  # plugins also raise errors with another error as the message
        super().__init__(" ".join(filter(None, (text, facts.get("advice", "")))))
        for fact, value in facts.items():
            if fact not in ErrorFacts.__annotations__ or not hasattr(type(self), fact):
                raise TypeError(f"{type(self).__name__} carries no fact {fact!r}")
            setattr(self, fact, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error with its facts. One that cannot be pickled, such as a caller's lambda, becomes its repr."""
        return type(self), self.args, {fact: _picklable(value) for fact, value in vars(self).items()}


class LookupFailedError(RegistryError):
    """A name that leads nowhere, or to two answers.

    Attributes:
        suggestions: Known names that resemble the one that was asked for.
    """

    suggestions: Sequence[str] = ()


class UnknownModelError(LookupFailedError):
    """No plugin knows the model name."""


class UnknownWeightsError(LookupFailedError):
    """The given weights are neither a tag of the model nor a file. `expected` lists the tags."""


class ConflictError(LookupFailedError):
    """Two plugins gave an answer where there must be one.

    Attributes:
        plugins: The plugins that answered, each with its distribution.
    """

    plugins: Sequence[str] = ()


class TakenNameError(LookupFailedError):
    """A config was added under a name that a model already has."""


class ConfigError(RegistryError):
    """A model config that does not validate.

    Attributes:
        problems: Dotted config key -> what is wrong with its value. Empty if the config could not be read at all.
        suggestions: Known keys that resemble an unknown one.
    """

    problems: Mapping[str, str] = _NOTHING
    suggestions: Sequence[str] = ()


class OverrideError(ConfigError):
    """An argument of the caller that is not a config key, or has the wrong type. `argument` names it."""


class PluginError(RegistryError):
    """A plugin that cannot be loaded, or one of whose hooks failed.

    Attributes:
        plugin: The name of the plugin, or None.
        hook: The hook that failed or gave a wrong answer, or None.
        suggestions: Names that resemble a misspelt one.
    """

    plugin: str | None = None
    hook: str | None = None
    suggestions: Sequence[str] = ()


class BuildError(RegistryError):
    """A model that cannot be built as asked, or a tower that does not exist.

    Attributes:
        tower: The tower that is absent, such as "text", or None.
    """

    tower: str | None = None


class InputError(RegistryError, ValueError):
    """A tensor or an option that a model's method does not accept.

    Attributes:
        suggestions: Accepted values that resemble the given one.
    """

    suggestions: Sequence[str] = ()


class FetchError(RegistryError):
    """Bytes that could not be downloaded or copied to this machine.

    Attributes:
        url: The address that was asked, or None.
        status: The HTTP status of the answer, or None.
    """

    url: str | None = None
    status: int | None = None


class OfflineError(FetchError):
    """Bytes that are not on this machine, while REGISTRY_CORE_OFFLINE or HF_HUB_OFFLINE forbids the network.

    Attributes:
        variable: The environment variable that forbids the network.
    """

    variable: str | None = None


class IntegrityError(FetchError):
    """Bytes that differ from the expected ones. `expected` and `found` are SHA-256, sizes, or descriptions."""


class CheckpointError(RegistryError):
    """A file that cannot be read as a checkpoint."""


class UnsafeCheckpointError(CheckpointError):
    """Reading the file in full would run code that it contains. `name` is the Python name that the file asks for."""


class StateDictError(CheckpointError):
    """The checkpoint was read, but its tensors do not fit the model.

    Attributes:
        missing: Parameters and buffers of the model that the file lacks.
        unexpected: Tensors of the file that the model lacks.
        misshaped: Parameter -> both shapes, where they differ.
    """

    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    misshaped: Mapping[str, str] = _NOTHING


class RandomWeightsWarning(UserWarning):
    """A model was created with random weights, and the caller did not ask for them."""


def _picklable(value: object) -> object:
    value = dict(value) if isinstance(value, MappingProxyType) else value
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - the object is the caller's, and pickling it may raise anything
        return repr(value)
    return value


def close_names(name: str, known: Iterable[str], most: int = 4) -> list[str]:
    """Return the known names that resemble `name`, best first. Case is ignored."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=most, cutoff=0.6)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean a, b?` with the close names, or an empty string."""
    close = close_names(name, known)
    return f" Did you mean {', '.join(close)}?" if close else ""


def listing(items: Iterable[str], most: int = 12) -> str:
    """Return `a, b, c and 5 more`, for messages."""
    names = list(items)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


_E = TypeVar("_E", bound=RegistryError)


def unknown_choice(kind: type[_E], argument: str, given: object, choices: Collection[str], outcome: str) -> _E:
    """Return the error for a value that is none of an argument's choices; `outcome` says what was not done."""
    name = str(given)
    return kind(
        f"{argument}={given!r} is unknown.{did_you_mean(name, choices)} Expected one of {', '.join(choices)}. "
        f"{outcome}",
        argument=argument,
        expected=choices,
        found=given,
        suggestions=close_names(name, choices),
    )


def missing_library(error: ImportError, need: str, extra: str, outcome: str) -> BuildError:
    """Return the error for a library that is not installed.

    Args:
        error: Raised by the import; it names the library.
        need: What needs the library, for the message.
        extra: The extra of registry_core that installs the library.
        outcome: What was not done, as a sentence.
    """
    return BuildError(
        f"{need}, and {error.name} is not installed. {outcome}",
        name=error.name,
        advice=f"Install it: pip install 'registry_core[{extra}]'.",
    )
