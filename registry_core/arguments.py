"""Checks of the arguments that callers give. Each error names the argument."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import SupportsIndex

from registry_core.errors import OverrideError

PathLike = str | os.PathLike[str]


def text_of(argument: str, given: object) -> str:
    """Return the string that a caller gave.

    Args:
        argument: Name of the argument, for the message.
        given: Its value.

    Raises:
        OverrideError: The value is not a string.
    """
    if isinstance(given, str):
        return given
    raise _refusal(argument, given, "a string")


def path_of(argument: str, given: object) -> Path:
    """Return the path that a caller gave, with `~` as the user's home folder.

    Args:
        argument: Name of the argument, for the message.
        given: Its value.

    Raises:
        OverrideError: The value is not a path on this system. Bytes are refused too, and `~` with an unknown user.
    """
    written = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not (isinstance(written, str) and written):  # pathlib turns an empty string into the current folder
        raise _refusal(argument, given, "a path, as a string or pathlib.Path")
    try:
        if "\0" not in written:
            return Path(written).expanduser()
        reason = "it contains a null character"
    except RuntimeError as error:  # `~name` for a user who does not exist
        reason = str(error).rstrip(".")
    raise OverrideError(
        f"{argument}={given!r:.60} is not a path on this system: {reason}. Nothing was done.",
        argument=argument,
        expected="a path",
        found=given,
        advice="Correct it.",
    )


def folder_of(argument: str, given: object) -> Path | None:
    """Return the folder that a caller gave. None and "" mean the usual folder, and the result is None.

    Raises:
        OverrideError: As for `path_of`.
    """
    return None if given is None or given == "" else path_of(argument, given)


def whole_number(given: object) -> int | None:
    """Return a whole number of Python, numpy or torch as an int, or None for anything else.

    A bool is not a whole number here, and neither is an array or tensor with dimensions.
    """
    if type(given) is int:
        return given
    if isinstance(given, bool) or not isinstance(given, SupportsIndex) or getattr(given, "ndim", 0) != 0:
        return None
    try:
        number = operator.index(given)
    except TypeError:  # a float in a tensor
        return None
    return None if isinstance(number, bool) or str(getattr(given, "dtype", "")).endswith("bool") else number


def _refusal(argument: str, given: object, expected: str) -> OverrideError:
    got = "an empty string" if isinstance(given, str) else type(given).__name__
    return OverrideError(
        f"{argument}={given!r:.60}: expected {expected}, got {got}. Nothing was done.",
        argument=argument,
        expected=expected,
        found=given,
        advice="Correct it.",
    )
