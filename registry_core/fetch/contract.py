"""The contract with the `fetchers` hook: what a fetcher receives and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Protocol

from registry_core.errors import FetchError, OfflineError
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import Source

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far, and the bytes in total (None if not known). An exception that it
raises ends the download. The partial file is kept and the next call resumes from it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine.

    Attributes:
        path: Path of the file. For a sharded checkpoint, the path of its index.
        cached: Whether the file is in registry_core's own cache. Such a file does not change, so it may be mapped.
        sha256: The SHA-256 that was verified when the file was put there. Empty if it is not known.
    """

    path: Path
    cached: bool = False
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FetchContext:
    """The circumstances of a fetch.

    Attributes:
        folder: The cache folder.
        settings: Time-outs, mirrors, and whether the network is forbidden.
        asked: The model and tag of the file for messages, such as "ViT-B-32 openai". May be empty.
        progress: Called after each piece. None shows a progress bar if stderr is a terminal.
        fallback_caches: Further caches of registry_core. A file is copied from them before the network is used.
        reuse_foreign_cache: Whether a file in huggingface_hub's cache is used in place. Otherwise it is copied.
    """

    folder: Path
    settings: Settings = field(default_factory=Settings.load)
    asked: str = ""
    progress: Progress | None = None
    fallback_caches: tuple[Path, ...] = ()
    reuse_foreign_cache: bool = True

    @property
    def advice(self) -> str:
        """How to get a file that this machine cannot download."""
        return (
            f"On a machine with a network, run `registry-core download {self.asked or 'NAME TAG'} --to FOLDER`. Copy "
            "FOLDER to this machine and set cache_dir= or REGISTRY_CORE_CACHE to it. Or give pretrained= the path of "
            "the file."
        )

    def refuse_offline(self, url: str, path: Path) -> None:
        """End a fetch that needs the network if the network is forbidden.

        Args:
            url: The address of the file.
            path: Where the file would be in the cache.

        Raises:
            OfflineError: An environment variable forbids the network. The message describes how to get the file.
        """
        if self.settings.offline:
            state = "is damaged in the cache" if path.exists() else "is not in the cache"
            raise OfflineError(
                f"{url} {state} ({path}), and {self.settings.offline} forbids the network. No request was sent.",
                url=url,
                path=path,
                variable=self.settings.offline,
                advice=self.advice,
            )


Fetcher = Callable[[Source, FetchContext], Fetched]
"""Fetches the bytes of a source. If it cannot, it raises FetchError and no other exception."""


class CoreFetcher(Protocol):
    """A fetcher of the core. It can also report which files are on this machine, without using the network."""

    @property
    def kind(self) -> type | UnionType:
        """The type of its sources."""
        ...

    def paths(self, source: Source, folder: Path) -> list[Path]:
        """Return where the file is or would be: one path for each name that the file may have."""
        ...

    def address(self, source: Source, settings: Settings) -> str:
        """Return the address of the file, before mirrors are applied."""
        ...

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """Return the file if it is on this machine and valid, or None."""
        ...

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """Return the file, downloaded if necessary."""
        ...


class AbsentError(FetchError):
    """The location can be reached, but it has no such file."""
