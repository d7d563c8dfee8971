"""How this machine reaches files: offline mode, mirrors, time-outs. Read from settings files and the environment.

    # settings.toml in the user's or the system's config folder of registry_core; REGISTRY_CORE_SETTINGS names another
    read_timeout = 120
    [mirrors]
    "openaipublic.azureedge.net" = "https://mirror.example.org/openai"
    "https://github.com/mlfoundations" = "file:///mnt/mirror/mlfoundations"

REGISTRY_CORE_MIRRORS="host=address host=address" does the same, and overrides the files.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from platformdirs import site_config_path

from registry_core.errors import ErrorFacts, FetchError, did_you_mean
from registry_core.fetch.user_folders import user_settings

FILENAME = "settings.toml"
OFFLINE_VARIABLES = ("REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE")
_SETTINGS_VARIABLE = "REGISTRY_CORE_SETTINGS"
_MIRRORS_VARIABLE = "REGISTRY_CORE_MIRRORS"
_OFF = frozenset({"", "0", "false", "no", "off"})
_MIRROR_SCHEMES = ("http", "https", "file")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach files.

    Attributes:
        offline: The environment variable that forbids the network. Empty if the network is allowed.
        endpoint: Address of the hub, without a slash at the end.
        mirrors: Host, or host and the beginning of a path -> the address that replaces it.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait between two pieces of an answer.
        attempts: Number of failures in a row without progress after which a download is given up.
        backoff: Seconds before the second attempt. The delay doubles with each further attempt.
    """

    offline: str = ""
    endpoint: str = "https://huggingface.co"
    mirrors: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 10
    read_timeout: float = 60
    attempts: int = 5
    backoff: float = 0.5

    @classmethod
    def load(cls) -> Settings:
        """Return the settings of this machine, user and process. The process overrides the user, the user the machine.

        Raises:
            FetchError: A settings file or an environment variable is not valid.
        """
        values: dict[str, Any] = {}
        mirrors: dict[str, str] = {}
        for path in _settings_files():
            found = _read_settings(path)
            mirrors |= {_without_scheme(key): value for key, value in found.pop("mirrors", {}).items()}
            values |= found
        mirrors |= _mirrors_of_environment()
        return cls(
            offline=next((name for name in OFFLINE_VARIABLES if os.environ.get(name, "").lower() not in _OFF), ""),
            endpoint=(os.environ.get("HF_ENDPOINT") or cls().endpoint).rstrip("/"),
            mirrors=mirrors,
            **values,
        )

    @property
    def timeout(self) -> tuple[float, float]:
        """The time-outs to connect and to read, as requests takes them."""
        return self.connect_timeout, self.read_timeout

    def mirrored(self, url: str) -> str:
        """Return the mirror's address for a URL, or the URL itself. The longest matching entry is used.

        Raises:
            FetchError: The path of the URL contains `..`.
        """
        parts = urlsplit(url)
        if ".." in unquote(parts.path).replace("\\", "/").split("/"):
            raise FetchError(
                f"The path of {url} contains `..`, which leads upwards. Nothing was fetched.",
                url=url,
                advice="Write the address without `..`.",
            )
        plain = _without_scheme(url)
        for origin in sorted(self.mirrors, key=len, reverse=True):
            if plain == origin or plain.startswith(f"{origin}/"):
                return self.mirrors[origin].rstrip("/") + plain.removeprefix(origin)
        return url


_NUMBERS = {f.name: f.type for f in fields(Settings) if f.name not in {"offline", "endpoint", "mirrors"}}


def _settings_files() -> Iterator[Path]:
    """Yield the settings files that exist. Later files override earlier ones."""
    given = os.environ.get(_SETTINGS_VARIABLE)
    if given:
        yield _named_file(given)
        return
    for path in (folder / FILENAME for folder in (site_config_path("registry_core"), user_settings()) if folder):
        try:
            exists = path.is_file()
        except OSError as error:  # a home folder of another user
            raise FetchError(
                f"The settings file {path} could not be checked: {error}.",
                path=path,
                advice=f"Set HOME or XDG_CONFIG_HOME to your own folder, or name a file in {_SETTINGS_VARIABLE}.",
            ) from error
        if exists:
            yield path


def _named_file(given: str) -> Path:
    path = Path(os.path.expanduser(given))  # noqa: PTH111 - it never raises
    if not path.is_file():
        raise FetchError(
            f"{_SETTINGS_VARIABLE} names {path}, which is not a file.",
            argument=_SETTINGS_VARIABLE,
            path=path,
            advice="Correct or unset the variable.",
        )
    return path


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchError(
            f"The settings in {path} could not be read as TOML: {error}.", path=path, advice="Correct the file."
        ) from error
    for key, value in found.items():
        _check_setting(path, key, value)
    for origin, address in found.get("mirrors", {}).items():
        _check_mirror(origin, address, str(path), path=path)
    return found


def _check_setting(path: Path, key: str, value: Any) -> None:
    known = [*_NUMBERS, "mirrors"]
    if key not in known:
        hint = did_you_mean(key, known) or f" The settings are {', '.join(known)}."
        raise FetchError(
            f"{path} has an unknown setting {key!r}.{hint}",
            path=path,
            name=key,
            expected=known,
            advice="Correct the file.",
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _NUMBERS and not (is_number and value > 0):
        raise _wrong_value(path, key, value, "a number above 0")
    if key == "mirrors" and not isinstance(value, dict):
        raise _wrong_value(path, key, value, "a table [mirrors]")


def _wrong_value(path: Path, key: str, value: Any, expected: str) -> FetchError:
    return FetchError(
        f"{path} contains {key} = {value!r}, expected {expected}.",
        path=path,
        name=key,
        expected=expected,
        found=value,
        advice="Correct the file.",
    )


def _mirrors_of_environment() -> dict[str, str]:
    entries = {}
    for entry in os.environ.get(_MIRRORS_VARIABLE, "").split():
        origin, _, address = entry.partition("=")
        _check_mirror(origin, address, _MIRRORS_VARIABLE, argument=_MIRRORS_VARIABLE)
        entries[_without_scheme(origin)] = address
    return entries


def _check_mirror(origin: str, address: Any, where: str, *, path: Path | None = None, argument: str = "") -> None:
    if origin and isinstance(address, str) and urlsplit(address).scheme in _MIRROR_SCHEMES:
        return
    expected = "a host and an address that begins with http://, https:// or file://"
    facts: ErrorFacts = {
        "name": origin,
        "argument": argument or None,
        "expected": expected,
        "found": address,
        "advice": "Correct it, such as huggingface.co=https://mirror.example.org.",
    }
    if path is not None:
        facts["path"] = path
    raise FetchError(
        f"{where} maps {origin!r} to the mirror {address!r}, expected {expected}.",
        **facts,
    )


def _without_scheme(address: str) -> str:
    """Return an address without its scheme, the host in lower case: `Host/path` equals `https://host/path/`."""
    bare = address.partition("://")[2] or address
    host, slash, path = bare.partition("/")
    return (host.lower() + slash + path).rstrip("/")
