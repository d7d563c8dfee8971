"""The base class of every config, and the error for a config that does not validate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from registry_core.errors import ConfigError, close_names, did_you_mean, listing

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_MOST_PROBLEMS = 20  # in a message
_MOST_LETTERS = 200  # of a key or value in a message


def as_tuple(value: object) -> object:
    """Turn a list into a tuple, since JSON has no tuples. Other values are returned unchanged."""
    return tuple(value) if isinstance(value, list) else value


_MOST = 2**31 - 1  # no tensor has a longer dimension, and no vocabulary more ids
Positive = Annotated[int, Field(gt=0, le=_MOST)]
TokenId = Annotated[int, Field(ge=0, le=_MOST)]
Layers = Annotated[int, Field(gt=0, le=10_000)]
Pair = Annotated[Positive | tuple[Positive, Positive], BeforeValidator(as_tuple)]
_Value = Annotated[float, Field(allow_inf_nan=False)]
Channels = Annotated[tuple[_Value, _Value, _Value], BeforeValidator(as_tuple)]
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # images are divided by it
Deviations = Annotated[tuple[_Deviation, _Deviation, _Deviation], BeforeValidator(as_tuple)]


class StrictModel(BaseModel):
    """Immutable config that refuses unknown keys and converts no value silently, except JSON lists to tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=(), allow_inf_nan=False)


def config_error(
    error: ValidationError,
    model: type[StrictModel],
    origin: str,
    kind: type[ConfigError] = ConfigError,
    *,
    argument: str | None = None,
) -> ConfigError:
    """Return the error for a config that does not validate. Its message has one line for each wrong key.

    Args:
        error: The error of pydantic.
        model: The class that the config was validated with.
        origin: Where the config is from, for the message: a model name, a file or an argument.
        kind: The class of the returned error: ConfigError, or OverrideError if the caller's argument is wrong.
        argument: The argument of the caller that holds the config, or None.
    """
    problems: dict[str, list[str]] = {}
    suggestions: list[str] = []
    errors = error.errors(include_url=False, include_context=False)
    for item in errors[:_MOST_PROBLEMS]:
        key, text, similar = _problem(model, item)
        problems.setdefault(key, []).append(text)
        suggestions += similar
    # Each branch of a union type reports its own problem with a key. They share one line.
    texts = {key: " Or: ".join(dict.fromkeys(found)) for key, found in problems.items()}
    lines = "\n".join(f"  {key:.{_MOST_LETTERS}}: {text}" for key, text in texts.items())
    if len(errors) > _MOST_PROBLEMS:
        lines += f"\n  and {len(errors) - _MOST_PROBLEMS:,} more"
    return kind(
        f"The config of {origin} does not validate:\n{lines}\nNothing was built.",
        name=origin,
        argument=argument,
        problems=texts,
        suggestions=list(dict.fromkeys(suggestions)),
        advice="Correct the keys named above.",
    )


def _problem(model: type[BaseModel], item: ErrorDetails) -> tuple[str, str, list[str]]:
    """Return the dotted key of one pydantic error, what is wrong with its value, and known keys that resemble it."""
    path, known = _locate(model, item["loc"])
    key = ".".join(path) or "(top level)"
    match item["type"]:
        case "extra_forbidden":
            unknown = str(item["loc"][-1])
            hint = did_you_mean(unknown, known) or f" Known keys: {listing(sorted(known), 40)}."
            return ".".join([*path, unknown]), f"unknown key.{hint}", close_names(unknown, known)
        case "missing" if isinstance(item["loc"][-1], int):  # the index of a list item, not a key
            return key, f"too few values, got {_shown(item['input'])}.", []
        case "missing":
            return key, "missing.", []
        case _:
            return key, f"{item['msg']}, got {_shown(item['input'])}.", []


def _shown(value: object) -> str:
    """Return a value of a config for a message; a config from outside may hold anything of any length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists nested by the thousand
        text = f"a {type(value).__name__}"
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return the config keys in a pydantic location, and the keys that are known at its end.

    A location also names the branches of union types. These names do not occur in a config, so they are left out.
    """
    path: list[str] = []
    branches: list[type[BaseModel]] = []
    known = list(model.model_fields)
    for part in map(str, location):
        branch = next((t for t in branches if t.__name__ == part), None)
        if branch is not None:
            model, known = branch, list(branch.model_fields)
        elif part in known:
            path.append(part)
            branches = [t for t in _classes(model.model_fields[part].annotation) if issubclass(t, BaseModel)]
            if not branches:
                break
            model, known = branches[0], list(branches[0].model_fields)
    return path, known


def _classes(annotation: Any) -> list[type]:
    """Return the classes in an annotation such as `X | None`."""
    if isinstance(annotation, type):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
