"""Files at http and https URLs.

Their path in the cache is url/<host>/<16 digits of the URL's SHA-256>/<name>. The digits separate files with one name.
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
from registry_core.fetch.jobs import DownloadJob, cached
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import Source, Url
from registry_core.path_safety import inside


class WebFetcher:
    """Fetches a Url. See CoreFetcher."""

    kind = Url

    def paths(self, source: Source, folder: Path) -> list[Path]:
        """Return the path in the cache.

        Raises:
            FetchError: The URL is not valid, or a part of it cannot be a name in the cache.
        """
        assert isinstance(source, Url)
        return [_path(source.url, folder)]

    def address(self, source: Source, settings: Settings) -> str:
        """Return the URL."""
        del settings
        assert isinstance(source, Url)
        return source.url

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """Return the file from the cache or from a fallback cache, or None."""
        assert isinstance(source, Url)
        job = _job(source, context.folder)
        found = cached(job)
        for folder in context.fallback_caches if found is None else ():
            fallback = cached(_job(source, folder))
            if fallback is not None:
                return copied(job, fallback.path, context)
        return found

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """Return the file from the cache. It is downloaded there if necessary.

        Raises:
            FetchError: As for `download`.
        """
        assert isinstance(source, Url)
        return download(_job(source, context.folder), context)


def _job(source: Url, folder: Path) -> DownloadJob:
    return DownloadJob(source.url, source.url, _path(source.url, folder), source.sha256_prefix)


def _path(url: str, folder: Path) -> Path:
    try:
        parts = urlsplit(url)
        host = re.sub(r"[^\w.-]", "_", parts.netloc.rpartition("@")[2])
    except ValueError as error:
        raise FetchError(f"{url} is not a valid URL: {error}. Nothing was fetched.", url=url) from error
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or "index"
    digits = hashlib.sha256(url.encode()).hexdigest()[:16]
    return inside(folder, "url", host, digits, what=f"In {url}, the part") / inside(
        Path(), name, what=f"In {url}, the file name"
    )
