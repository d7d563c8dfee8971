"""What a tag or a path stands for: where the bytes are, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """A place that bytes come from. `scheme` selects the fetcher."""

    @property
    def scheme(self) -> str:
        """The key of the fetcher that can bring the bytes, such as `https`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the user's."""

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
        url: with its scheme.
        sha256_prefix: leading hexadecimal digits of the file's SHA-256, as many as are known; may be empty.
    """

    url: str
    sha256_prefix: str = ""

    @property
    def scheme(self) -> str:
        """The URL's own."""
        return self.url.partition(":")[0].lower()

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a Hugging Face hub repository.

    Attributes:
        repo: `org/name`.
        filenames: names to try in this order; the first that exists is taken.
        revision: branch, tag or commit.
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
    """The answer to "which weights are these?".

    Attributes:
        sources: places that hold the same weights, the preferred one first. Their bytes may differ: a hub file may be
            another serialisation than the file at a URL.
        tag: the tag that was asked for; None where a path answered.
        of_tag: for a path, the tag whose file it is said to be.
        stated: raw config keys that the weights are known to need, such as `{"quick_gelu": True}` or a
            `preprocess_cfg`. A key that is not there says nothing.
        licence: under which they were published, such as "MIT"; empty where it is not known.
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
    """The weights at a path, or None where nothing is there.

    Plugins and the core share this one fallback: a path is tried where no tag answers. Whether the path is a readable
    file is found out when it is opened, so that the error can say what it is instead.
    """
    try:
        path = Path(given).expanduser()
        return Weights((LocalFile(path),)) if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or of an unknown user
        return None
