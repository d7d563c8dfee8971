"""Names that come from outside, such as a repository's or a URL's, before they become names in the cache.

The rules of POSIX and of Windows hold on every system: a cache is copied between machines, and a name that is harmless
here must not be a device or another drive there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from registry_core.errors import FetchError

OWN_SUFFIXES = (".record", ".part", ".note", ".lock")  # what the cache itself puts beside a file

_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]*", re.ASCII)

_SHOWN = 80
_MOST_BYTES = 200  # file systems allow 255; the cache's own endings need room
_FORBIDDEN = frozenset('<>:"/\\|?*')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "clock$", "conin$", "conout$"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"}
)


def checked_name(name: str, what: str) -> str:
    """A name that is one file or folder, on any system.

    Args:
        name: without any separator.
        what: says whose name it is, for the message.

    Raises:
        FetchError: the name would be refused somewhere, or would lead elsewhere.
    """
    reason = objection(name)
    if reason:
        shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "..."
        raise FetchError(
            f"{what} {shown!r} cannot be a name in the cache: {reason}. Nothing was fetched. Where the file is meant "
            "all the same, download it by hand and give pretrained= its path."
        )
    return name


def inside(folder: Path, *names: str, what: str) -> Path:
    """The path of checked names below a folder; a name may hold `/` between checked parts.

    Raises:
        FetchError: see `checked_name`.
    """
    return folder.joinpath(*(checked_name(part, what) for name in names for part in name.split("/")))


def is_repository(repo: str) -> bool:
    """Whether a text can be a repository of the Hugging Face hub, `organisation/name`."""
    return bool(_REPOSITORY.fullmatch(repo)) and ".." not in repo


def is_revision(revision: str) -> bool:
    """Whether a text can be a branch, tag or commit of such a repository."""
    return bool(_REVISION.fullmatch(revision)) and ".." not in revision


def objection(name: str) -> str:
    """Why a name cannot be one file or folder on any system; empty if it can."""
    return next((reason for refused, reason in _RULES if refused(name)), "")


def _size(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


_RULES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda name: name in {"", ".", ".."}, "it names no file, or the folder above"),
    (lambda name: any("\ud800" <= letter <= "\udfff" for letter in name), "it is not valid Unicode"),
    (lambda name: _size(name) > _MOST_BYTES, f"it is longer than {_MOST_BYTES} bytes"),
    (
        lambda name: bool(_FORBIDDEN & set(name)),
        f"it holds one of {' '.join(sorted(_FORBIDDEN))}, which Windows takes for a drive or folder, or does not allow",
    ),
    (lambda name: any(unicodedata.category(letter) == "Cc" for letter in name), "it holds control characters"),
    (
        lambda name: name != name.strip(" ") or name.endswith("."),
        "it begins or ends with a space or ends with a dot, which Windows drops",
    ),
    (
        lambda name: name.partition(".")[0].rstrip(" ").casefold() in _DEVICES,
        "it is the name of a device on Windows",
    ),
    (
        lambda name: name.casefold().endswith(OWN_SUFFIXES),
        f"the endings {', '.join(OWN_SUFFIXES)} are the cache's own",
    ),
)
