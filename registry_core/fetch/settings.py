"""How this machine reaches files: offline or not, mirrors, patience. From settings files and the environment.

    # settings.toml in the user's config folder of registry_core, or the system's; REGISTRY_CORE_SETTINGS names another
    read_timeout = 120
    [mirrors]
    "openaipublic.azureedge.net" = "https://mirror.example.org/openai"
    "https://github.com/mlfoundations" = "file:///mnt/mirror/mlfoundations"

REGISTRY_CORE_MIRRORS="host=address host=address" does the same, and goes before the files.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from platformdirs import site_config_path, user_config_path

from registry_core.errors import FetchError, did_you_mean

FILENAME = "settings.toml"
OFFLINE_VARIABLES = ("REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE")
_OFF = frozenset({"", "0", "false", "no", "off"})
_MIRROR_SCHEMES = ("http", "https", "file")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach files.

    Attributes:
        offline: the variable that forbids the network; empty where none does.
        endpoint: of the hub, without a slash at the end.
        mirrors: host, or address with the beginning of a path -> address that stands in its place.
        connect_timeout: seconds until a connection stands.
        read_timeout: seconds between two pieces of an answer.
        attempts: how often in a row a download may break off without getting on.
        backoff: seconds before the second attempt; doubles with each further one.
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
        """The settings of this machine, user and process; the nearest counts.

        Raises:
            FetchError: a file or variable cannot be understood.
        """
        values: dict[str, Any] = {}
        mirrors: dict[str, str] = {}
        for path in _files():
            found = _read(path)
            mirrors |= {_origin(key): value for key, value in found.pop("mirrors", {}).items()}
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
        """To connect and to read, as requests takes them."""
        return self.connect_timeout, self.read_timeout

    def mirrored(self, url: str) -> str:
        """The address to ask instead of a URL, or the URL; the longest entry that fits counts.

        Raises:
            FetchError: the URL's path leads upwards.
        """
        parts = urlsplit(url)
        if ".." in unquote(parts.path).replace("\\", "/").split("/"):
            raise FetchError(f"{url} leads upwards by `..`. Nothing was fetched; write the address without it.")
        plain = _origin(url)
        for origin in sorted(self.mirrors, key=len, reverse=True):
            if plain == origin or plain.startswith(f"{origin}/"):
                return self.mirrors[origin].rstrip("/") + plain.removeprefix(origin)
        return url


_NUMBERS = {f.name: f.type for f in fields(Settings) if f.name not in {"offline", "endpoint", "mirrors"}}


def _files() -> Iterator[Path]:
    """The settings files there are, the farthest first."""
    named = os.environ.get("REGISTRY_CORE_SETTINGS")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise FetchError(f"REGISTRY_CORE_SETTINGS names {path}, which is no file. Correct or unset the variable.")
        yield path
        return
    for path in (site_config_path("registry_core") / FILENAME, user_config_path("registry_core") / FILENAME):
        try:
            there = path.is_file()
        except OSError as error:  # somebody else's home
            raise FetchError(
                f"Whether there are settings at {path} cannot be seen: {error}. Set HOME or XDG_CONFIG_HOME to a "
                "folder of your own, or name a file by REGISTRY_CORE_SETTINGS."
            ) from error
        if there:
            yield path


def _read(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchError(f"The settings in {path} could not be read as TOML: {error}. Correct the file.") from error
    known = [*_NUMBERS, "mirrors"]
    for key, value in found.items():
        if key not in known:
            hint = did_you_mean(key, known) or f" Settings are {', '.join(known)}."
            raise FetchError(f"{path} has an unknown setting {key!r}.{hint} Correct the file.")
        if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise FetchError(f"{path} says {key} = {value!r}, expected a number above 0. Correct the file.")
    mirrors = found.get("mirrors", {})
    if not isinstance(mirrors, dict):
        raise FetchError(f"{path} says mirrors = {mirrors!r}, expected a table [mirrors]. Correct the file.")
    for origin, address in mirrors.items():
        _check_mirror(origin, address, str(path))
    return found


def _mirrors_of_environment() -> dict[str, str]:
    entries = {}
    for entry in os.environ.get("REGISTRY_CORE_MIRRORS", "").split():
        origin, _, address = entry.partition("=")
        _check_mirror(origin, address, "REGISTRY_CORE_MIRRORS")
        entries[_origin(origin)] = address
    return entries


def _check_mirror(origin: str, address: Any, where: str) -> None:
    if not origin or not isinstance(address, str) or urlsplit(address).scheme not in _MIRROR_SCHEMES:
        raise FetchError(
            f"{where} says that {origin!r} is mirrored at {address!r}; expected a host and an address that begins with "
            "http://, https:// or file://, such as huggingface.co=https://mirror.example.org. Correct it."
        )


def _origin(address: str) -> str:
    """An address without its scheme, the host in lower case: `Host/path` and `https://host/path/` are one."""
    bare = address.partition("://")[2] or address
    host, slash, path = bare.partition("/")
    return (host.lower() + slash + path).rstrip("/")
