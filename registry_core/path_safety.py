"""Checks of names from outside, such as parts of a URL, before they become file names in the cache.

The rules of POSIX and of Windows apply on every system, because users copy a cache between machines. A name that is
harmless on one system must not be a device or another drive on another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from registry_core.errors import FetchError

OWN_SUFFIXES = (".record", ".part", ".note", ".lock")  # of the files that the cache writes next to a download

_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]*", re.ASCII)

_SHOWN = 80  # characters of a name in a message
_MOST_BYTES = 200  # file systems allow 255, and the cache appends OWN_SUFFIXES
_FORBIDDEN = frozenset('<>:"/\\|?*')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "clock$", "conin$", "conout$"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"}
)


def checked_name(name: str, what: str) -> str:
    """Return the name, unless it cannot name a single file or folder on every system.

    Args:
        name: A name without separators.
        what: The subject of the message, such as "A part of https://...".

    Raises:
        FetchError: Some system does not allow the name, or takes it for another file or folder.
    """
    reason = objection(name)
    if reason:
        shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "..."
        raise FetchError(
            f"{what} {shown!r} cannot be a name in the cache: {reason}. Nothing was fetched.",
            name=name,
            found=reason,
            advice="If you want this file anyway, download it by hand and give its path as pretrained=.",
        )
    return name


def inside(folder: Path, *names: str, what: str) -> Path:
    """Return the path of names below a folder. A name is split at `/`, and each part is checked.

    Raises:
        FetchError: As for `checked_name`.
    """
    return folder.joinpath(*(checked_name(part, what) for name in names for part in name.split("/")))


def is_repository(repo: str) -> bool:
    """Whether a string can be a repository of the Hugging Face hub, `organisation/name`."""
    return bool(_REPOSITORY.fullmatch(repo)) and ".." not in repo


def is_revision(revision: str) -> bool:
    """Whether a string can be a branch, tag or commit of a hub repository."""
    return bool(_REVISION.fullmatch(revision)) and ".." not in revision


def objection(name: str) -> str:
    """Return why a name cannot name a single file or folder on every system, or an empty string if it can."""
    return next((reason for refused, reason in _RULES if refused(name)), "")


def _size(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


_RULES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda name: name in {"", ".", ".."}, "it does not name a file, or it names the parent folder"),
    (lambda name: any("\ud800" <= letter <= "\udfff" for letter in name), "it is not valid Unicode"),
    (lambda name: _size(name) > _MOST_BYTES, f"it is longer than {_MOST_BYTES} bytes"),
    (
        lambda name: bool(_FORBIDDEN & set(name)),
        f"it contains one of {' '.join(sorted(_FORBIDDEN))}, which Windows reserves for drives and folders or forbids",
    ),
    (lambda name: any(unicodedata.category(letter) == "Cc" for letter in name), "it contains control characters"),
    (
        lambda name: name != name.strip(" ") or name.endswith("."),
        "it begins or ends with a space, or ends with a dot, and Windows drops these",
    ),
    (
        lambda name: name.partition(".")[0].rstrip(" ").casefold() in _DEVICES,
        "it is the name of a device on Windows",
    ),
    (
        lambda name: name.casefold().endswith(OWN_SUFFIXES),
        f"the cache reserves the endings {', '.join(OWN_SUFFIXES)}",
    ),
)
