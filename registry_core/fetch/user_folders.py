"""The folders of the user, also where there is no user: containers run without HOME and without an account."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from platformdirs import user_cache_path, user_config_path

from registry_core.errors import FetchError

_APP = "registry_core"


def user_cache() -> Path:
    """Return the user's cache folder, or a folder of the process's user in the temporary folder if there is no home.

    Raises:
        FetchError: There is no home, and somebody else owns that folder.
    """
    try:
        return user_cache_path(_APP)
    except RuntimeError:  # neither HOME nor an account says where the home is
        return _own_temporary_folder()


def user_settings() -> Path | None:
    """Return the folder of the user's settings, or None if there is no home."""
    try:
        return user_config_path(_APP)
    except RuntimeError:
        return None


def expanded(path: str) -> Path:
    """Return a path with `~` as the home folder. Without a home, `~` is the folder that replaces the user's cache.

    Raises:
        FetchError: As for `user_cache`.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return user_cache().joinpath(*Path(path).parts[1:])


def _own_temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"{_APP}-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:  # nothing can be written there: what needs the cache will say so, and the rest works
        return folder
    # Records in the cache are trusted, and anybody may write to the temporary folder.
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise FetchError(
            f"There is no home folder, and {folder} belongs to another user. Nothing was read or written there.",
            path=folder,
            expected="a folder of this user",
            advice="Set HOME, or name a folder for downloads in REGISTRY_CORE_CACHE.",
        )
    return folder
