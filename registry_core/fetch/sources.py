"""What a tag or a path refers to: where the bytes can be fetched, and what is known about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(?<=\S)[?#]\S+")


class Source(Protocol):
    """A location that bytes can be fetched from. `scheme` selects the fetcher."""

    @property
    def scheme(self) -> str:
        """The key of the fetcher for this source, such as `https`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the user's.

    Attributes:
        path: Path of the file.
    """

    path: Path

    @property
    def scheme(self) -> str:
        """Always `file`."""
        return "file"

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Url:
    """A file at a URL.

    Attributes:
        url: The URL, with its scheme.
        sha256_prefix: The leading hexadecimal digits of the file's SHA-256, as many as are known. May be empty.
    """

    url: str
    sha256_prefix: str = ""

    @property
    def scheme(self) -> str:
        """The scheme of the URL, in lower case."""
        return self.url.partition(":")[0].lower()

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a Hugging Face hub repository.

    Attributes:
        repo: `org/name`.
        filenames: File names to try in this order. The first that exists is used.
        revision: Branch, tag or commit.
    """

    repo: str
    filenames: tuple[str, ...]
    revision: str = "main"

    @property
    def scheme(self) -> str:
        """Always `hf-hub`."""
        return "hf-hub"

    def __str__(self) -> str:
        return f"hf-hub:{self.repo}@{self.revision} ({' or '.join(self.filenames)})"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that a tag or a path refers to.

    Attributes:
        sources: Sources of the same weights, the preferred one first. Their bytes may differ: a hub file may be
            another serialisation than the file at a URL.
        tag: The tag that was requested. None if the weights were given as a path.
        of_tag: For a path, the tag whose file the caller says it is.
        stated: Raw config keys that the weights are known to need, such as `{"quick_gelu": True}` or a
            `preprocess_cfg`. A key that is absent states nothing.
        licence: The licence that the weights were published under, such as "MIT". Empty if it is not known.
    """

    sources: tuple[Source, ...]
    tag: str | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    of_tag: str | None = None
    licence: str = ""

    def __str__(self) -> str:
        if self.tag is not None:
            return f"tag {self.tag!r}"
        return f"file {self.sources[0]}" + (f", as of tag {self.of_tag!r}" if self.of_tag else "")


def local_weights(given: str | Path) -> Weights | None:
    """Return the weights at a path, or None if nothing exists there.

    Plugins and the core share this one fallback: a path is tried if no tag matches. Whether the path is a readable
    file is found out when it is opened, so that the error can report what it is instead.
    """
    try:
        path = Path(given).expanduser()
        return Weights((LocalFile(path),)) if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # the name is too long, contains a NUL, or names an unknown user
        return None


def without_secrets(text: str) -> str:
    """Return a text for the log: URLs lose their user name, password, query and fragment."""
    return _QUERY.sub("", _USER_INFO.sub("", text))
