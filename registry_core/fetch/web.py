"""Files at http and https URLs.

In the cache: url/<host>/<16 digits of the URL's SHA-256>/<name>; the digits keep apart what the name does not.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry_core.errors import FetchError
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.copying import copied
from registry_core.fetch.download import download
from registry_core.fetch.jobs import Job, cached
from registry_core.fetch.settings import Settings
from registry_core.safe_names import inside
from registry_core.weights import Source, Url


class WebFetcher:
    """Fetches a Url; see CoreFetcher."""

    kind = Url

    def places(self, source: Source, folder: Path) -> list[Path]:
        """One path."""
        assert isinstance(source, Url)
        return [_place(source.url, folder)]

    def address(self, source: Source, settings: Settings) -> str:
        """The URL."""
        del settings
        assert isinstance(source, Url)
        return source.url

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """From the cache, or from another cache of ours."""
        assert isinstance(source, Url)
        job = _job(source, context.folder)
        found = cached(job)
        for other in context.elsewhere if found is None else ():
            there = cached(_job(source, other))
            if there is not None:
                return copied(job, there.path, context)
        return found

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """From the cache, or downloaded into it."""
        assert isinstance(source, Url)
        return download(_job(source, context.folder), context)


def _job(source: Url, folder: Path) -> Job:
    return Job(source.url, source.url, _place(source.url, folder), source.sha256_prefix)


def _place(url: str, folder: Path) -> Path:
    try:
        parts = urlsplit(url)
        host = re.sub(r"[^\w.-]", "_", parts.netloc.rpartition("@")[2])
    except ValueError as error:
        raise FetchError(f"{url} is no valid URL: {error}. Nothing was fetched.") from error
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or "index"
    digits = hashlib.sha256(url.encode()).hexdigest()[:16]
    return inside(folder, "url", host, digits, what=f"A part of {url},") / inside(
        Path(), name, what=f"The end of {url},"
    )
