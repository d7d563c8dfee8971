"""What callers give, as what it must be: each refusal names the argument."""

from __future__ import annotations

import os
from pathlib import Path

from registry_core.errors import OverrideError


def text_of(argument: str, given: object) -> str:
    """The text that a caller gave.

    Args:
        argument: its name, for the message.
        given: its value.

    Raises:
        OverrideError: it is none.
    """
    if isinstance(given, str):
        return given
    raise _refusal(argument, given, "a text")


def path_of(argument: str, given: object) -> Path:
    """The path that a caller gave, with `~` as the user's folder.

    Args:
        argument: its name, for the message.
        given: its value.

    Raises:
        OverrideError: it is none, or of a user that there is not; bytes are none either.
    """
    written = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not (isinstance(written, str) and written):  # of nothing, pathlib makes the current folder
        raise _refusal(argument, given, "a path, as text or as pathlib.Path")
    try:
        if "\0" not in written:
            return Path(written).expanduser()
        reason = "it holds a null character"
    except RuntimeError as error:  # ~somebody
        reason = str(error).rstrip(".")
    raise OverrideError(
        f"{argument}={given!r:.60} is no path that this system knows: {reason}. Nothing was done; correct it."
    )


def folder_of(argument: str, given: object) -> Path | None:
    """The folder that a caller gave for files of ours; None and "" mean the usual one.

    Raises:
        OverrideError: as for `path_of`.
    """
    return None if given is None or given == "" else path_of(argument, given)


def _refusal(argument: str, given: object, expected: str) -> OverrideError:
    got = "an empty text" if isinstance(given, str) else type(given).__name__
    return OverrideError(f"{argument}={given!r:.60}: expected {expected}, got {got}. Nothing was done; correct it.")
