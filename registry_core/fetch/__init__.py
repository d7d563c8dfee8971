"""From a source to a file on this machine.

A table maps schemes to fetchers; plugins add theirs through the `fetchers` hook.

hub.py, web.py, local.py    the core's fetchers, one kind of source each
jobs.py        a file that is to be in the cache; one process at a time brings it
download.py    ... over the network; answers.py judges what a server says, tries.py when to ask again
copying.py     ... from a mirror on a disk, or from another cache
parts.py       temporary files, and going on with them
lock.py        one download at a time, as far as locks go
settings.py    offline, mirrors, time-outs
contract.py    what a fetcher is given and gives back
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from registry_core.errors import FetchError
from registry_core.fetch.contract import CoreFetcher, FetchContext, Fetched, Fetcher, Progress
from registry_core.fetch.hub import HubFetcher
from registry_core.fetch.local import LocalFetcher
from registry_core.fetch.settings import Settings
from registry_core.fetch.web import WebFetcher
from registry_core.weights import Source, Weights

_WEB = WebFetcher()
FETCHERS: dict[str, CoreFetcher] = {"file": LocalFetcher(), "http": _WEB, "https": _WEB, "hf-hub": HubFetcher()}

__all__ = [
    "FETCHERS",
    "FetchContext",
    "Fetched",
    "Fetcher",
    "Progress",
    "Settings",
    "address",
    "at_hand",
    "fetch",
    "location",
]


def fetch(weights: Weights, fetchers: Mapping[str, Fetcher], context: FetchContext) -> Fetched:
    """Bring the bytes of the first source that can be had; one that is here already goes before all that are not.

    Args:
        weights: their sources are tried in order; they hold the same weights.
        fetchers: of plugins, beside the core's own.
        context: the cache, and how the network is reached.

    Raises:
        FetchError: no source gave the file; the message says why for each.
    """
    for source in weights.sources:
        found = at_hand(source, context)
        if found is not None:
            return found
    table: dict[str, Fetcher] = {**fetchers, **FETCHERS}
    failures: list[FetchError] = []
    for source in weights.sources:
        try:
            return _fetcher_of(source, table)(source, context)
        except FetchError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    reasons = "\n".join(f"  {failure}" for failure in failures)
    kind = type(failures[0]) if len({type(failure) for failure in failures}) == 1 else FetchError
    raise kind(f"The weights of {weights} could not be brought here:\n{reasons}") from failures[-1]


def at_hand(source: Source, context: FetchContext) -> Fetched | None:
    """The file of a source of the core's kinds, if it is on this machine and right. Nobody is asked for it.

    Raises:
        FetchError: the source's names cannot be names in the cache.
    """
    fetcher = FETCHERS.get(source.scheme)
    return None if fetcher is None or not isinstance(source, fetcher.kind) else fetcher.at_hand(source, context)


def location(source: Source, folder: Path) -> list[Path]:
    """Where a source's file is, or would be: a path for each name that it may have; none where a plugin decides.

    Raises:
        FetchError: the source's names cannot be names in the cache.
    """
    fetcher = FETCHERS.get(source.scheme)
    return [] if fetcher is None or not isinstance(source, fetcher.kind) else fetcher.places(source, folder)


def address(source: Source, settings: Settings) -> str:
    """What would be asked for a source's file, mirrors considered; empty where a plugin decides.

    Raises:
        FetchError: the address leads upwards.
    """
    fetcher = FETCHERS.get(source.scheme)
    if fetcher is None or not isinstance(source, fetcher.kind):
        return ""
    return settings.mirrored(fetcher.address(source, settings))


def _fetcher_of(source: Source, table: Mapping[str, Fetcher]) -> Fetcher:
    fetcher, core = table.get(source.scheme), FETCHERS.get(source.scheme)
    if fetcher is None:
        raise FetchError(f"{source}: no fetcher for {source.scheme!r}; there are {', '.join(table)}.")
    if core is not None and not isinstance(source, core.kind):
        raise FetchError(
            f"{source}: the scheme {source.scheme!r} is the core's, and a {type(source).__name__} is no source that it "
            "knows. Give the source a scheme of its own, and bring its fetcher through the `fetchers` hook."
        )
    return fetcher
