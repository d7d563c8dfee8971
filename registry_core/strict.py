"""The base of every config: immutable, strict, and clear about what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from registry_core.errors import did_you_mean, listing


def as_tuple(value: object) -> object:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[int, Field(gt=0)]
Pair = Annotated[Positive | tuple[Positive, Positive], BeforeValidator(as_tuple)]
_Value = Annotated[float, Field(allow_inf_nan=False)]
Channels = Annotated[tuple[_Value, _Value, _Value], BeforeValidator(as_tuple)]
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # pictures are divided by it
Deviations = Annotated[tuple[_Deviation, _Deviation, _Deviation], BeforeValidator(as_tuple)]


class StrictModel(BaseModel):
    """Immutable, refuses unknown keys, and converts nothing in silence (JSON's lists become tuples)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def describe_problems(error: ValidationError, model: type[StrictModel], origin: str) -> str:
    """The message of a ConfigError; a line a key: where, what was expected, what was found, what was meant."""
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        path, known = _locate(model, item["loc"])
        where = ".".join(path) or "(top level)"
        match item["type"]:
            case "extra_forbidden":
                key = str(item["loc"][-1])
                where = ".".join([*path, key])
                text = f"unknown key.{did_you_mean(key, known) or f' Known keys: {listing(sorted(known), 40)}.'}"
            case "missing" if isinstance(item["loc"][-1], int):  # of a list: an index, no key
                text = f"too few values, got {item['input']!r}."
            case "missing":
                text = "missing."
            case _:
                text = f"{item['msg']}, got {item['input']!r}."
        problems.setdefault(where, []).append(text)
    # A key of a union type has a complaint from each branch: one line all the same.
    lines = "\n".join(f"  {where}: {' Or: '.join(dict.fromkeys(texts))}" for where, texts in problems.items())
    return f"The config of {origin} does not validate:\n{lines}\nNothing was built. Correct the keys named above."


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The config keys in a pydantic location, and the keys known where it ends.

    Locations also name the branches of unions, which no reader of a config has written.
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
    """The classes inside an annotation such as `X | None`."""
    if isinstance(annotation, type):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
