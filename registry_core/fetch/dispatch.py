"""Select the fetcher of a source by its scheme: one of the core's or a plugin's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from registry_core.errors import ErrorFacts, FetchError
from registry_core.fetch.contract import CoreFetcher, FetchContext, Fetched, Fetcher
from registry_core.fetch.hub import HubFetcher
from registry_core.fetch.local import LocalFetcher
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import Source, Weights, without_secrets
from registry_core.fetch.web import WebFetcher

_WEB = WebFetcher()
FETCHERS: dict[str, CoreFetcher] = {"file": LocalFetcher(), "http": _WEB, "https": _WEB, "hf-hub": HubFetcher()}

logger = logging.getLogger(__name__)


def fetch(weights: Weights, fetchers: Mapping[str, Fetcher], context: FetchContext) -> Fetched:
    """Return the file of the first source that can be fetched. A source that is already on this machine is preferred.

    Args:
        weights: Their sources are tried in order. All sources hold the same weights.
        fetchers: Fetchers of plugins, in addition to the core's.
        context: The cache folder, and how the network is used.

    Raises:
        FetchError: No source could be fetched. The message states the reason for each source.
    """
    for source in weights.sources:
        found = at_hand(source, context)
        if found is not None:
            logger.debug("Using %s at %s", without_secrets(str(source)), found.path)
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
    raise _combined(weights, failures) from failures[-1]


def at_hand(source: Source, context: FetchContext) -> Fetched | None:
    """Return the file of a source if it is on this machine and valid, or None. The network is not used.

    None is also returned for sources that a plugin fetches.

    Raises:
        FetchError: A name in the source cannot be a name in the cache.
    """
    fetcher = FETCHERS.get(source.scheme)
    return None if fetcher is None or not isinstance(source, fetcher.kind) else fetcher.at_hand(source, context)


def location(source: Source, folder: Path) -> list[Path]:
    """Return where the file of a source is or would be: one path for each name that it may have.

    The list is empty for sources that a plugin fetches.

    Raises:
        FetchError: A name in the source cannot be a name in the cache.
    """
    fetcher = FETCHERS.get(source.scheme)
    return [] if fetcher is None or not isinstance(source, fetcher.kind) else fetcher.paths(source, folder)


def address(source: Source, settings: Settings) -> str:
    """Return the address that a source would be requested from, after mirrors are applied.

    The address is empty for sources that a plugin fetches.

    Raises:
        FetchError: The path of the address contains `..`.
    """
    fetcher = FETCHERS.get(source.scheme)
    if fetcher is None or not isinstance(source, fetcher.kind):
        return ""
    return settings.mirrored(fetcher.address(source, settings))


def _fetcher_of(source: Source, table: Mapping[str, Fetcher]) -> Fetcher:
    fetcher, core = table.get(source.scheme), FETCHERS.get(source.scheme)
    if fetcher is None:
        raise FetchError(
            f"{source} cannot be fetched: there is no fetcher for {source.scheme!r}, only for {', '.join(table)}.",
            name=source.scheme,
            url=str(source),
            expected=list(table),
            found=source.scheme,
        )
    if core is not None and not isinstance(source, core.kind):
        raise FetchError(
            f"{source} cannot be fetched: the scheme {source.scheme!r} belongs to the core, and the core does not know "
            f"sources of the type {type(source).__name__}.",
            name=source.scheme,
            url=str(source),
            expected=core.kind,
            found=type(source),
            advice="Give the source its own scheme, and provide a fetcher for it through the `fetchers` hook.",
        )
    return fetcher


def _combined(weights: Weights, failures: list[FetchError]) -> FetchError:
    """Return one error for the failures of all sources. It has their class and facts where all of them agree."""
    first = failures[0]
    kind = type(first) if len({type(failure) for failure in failures}) == 1 else FetchError
    facts: ErrorFacts = {"name": weights.tag}
    if first.status is not None and all(failure.status == first.status for failure in failures):
        facts["status"] = first.status
    variable = getattr(first, "variable", None)
    if variable is not None and hasattr(kind, "variable"):
        facts["variable"] = variable
    reasons = "\n".join(f"  {failure}" for failure in failures)
    return kind(f"The weights of {weights} could not be fetched from any source:\n{reasons}", **facts)
