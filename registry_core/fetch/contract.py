"""What a fetcher is given and what it gives back: the contract with the `fetchers` hook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Protocol

from registry_core.errors import FetchError, OfflineError
from registry_core.fetch.settings import Settings
from registry_core.weights import Source

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that are here and the bytes in all (None: not known). An exception that it
raises ends the download; what came is kept and gone on from."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine.

    Attributes:
        path: of the file; of a sharded checkpoint, its index.
        cached: whether it lies in our own cache, so that nobody changes it and it may be mapped.
        sha256: as verified when it was put there; empty where it is not known.
    """

    path: Path
    cached: bool = False
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FetchContext:
    """The circumstances of a fetch.

    Attributes:
        folder: the cache.
        settings: time-outs, mirrors, and whether the network is forbidden.
        asked: "ViT-B-32 openai", what the file was asked for as; for messages, may be empty.
        progress: told of each piece; None shows a bar where stderr is a terminal.
        elsewhere: further caches of ours, from which a file is copied before the network is asked.
        borrow: whether a file in somebody else's cache is used where it lies; otherwise it is copied.
    """

    folder: Path
    settings: Settings = field(default_factory=Settings.load)
    asked: str = ""
    progress: Progress | None = None
    elsewhere: tuple[Path, ...] = ()
    borrow: bool = True

    @property
    def advice(self) -> str:
        """How to get a file that this machine cannot fetch."""
        return (
            f"On a machine with a network, `registry-core download {self.asked or 'NAME TAG'} --to FOLDER` brings it; "
            "copy FOLDER here and name it by cache_dir= or REGISTRY_CORE_CACHE. Or give pretrained= the file's path."
        )

    def refuse_offline(self, what: str, place: Path) -> None:
        """Ends a fetch that needs the network where the network is forbidden.

        Args:
            what: the address.
            place: where the file would be, if it were here.

        Raises:
            OfflineError: a variable forbids the network; the message says how to get the file.
        """
        if self.settings.offline:
            state = "is damaged in the cache" if place.exists() else "is not in the cache"
            raise OfflineError(
                f"{what} {state} ({place}), and {self.settings.offline} forbids the network. Nothing was asked for. "
                f"{self.advice}"
            )


Fetcher = Callable[[Source, FetchContext], Fetched]
"""Brings a source's bytes. Raises FetchError, and only that, where they cannot be had."""


class CoreFetcher(Protocol):
    """A fetcher of the core, which can also say what is here without asking anybody."""

    @property
    def kind(self) -> type | UnionType:
        """The type of its sources."""
        ...

    def places(self, source: Source, folder: Path) -> list[Path]:
        """Where the file is or would be, one path for each name it may have."""
        ...

    def address(self, source: Source, settings: Settings) -> str:
        """Where the file would be asked for, before mirrors."""
        ...

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """The file, if it is on this machine and right."""
        ...

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """The file, brought here if need be."""
        ...


class AbsentError(FetchError):
    """The server is there and has no such file."""
