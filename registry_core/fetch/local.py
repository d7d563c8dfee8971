"""Local files: paths and file: URLs.

They are used in place and never mapped, because registry_core does not own them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry_core.errors import ErrorFacts, FetchError, IntegrityError
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.digest import file_sha256
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import LocalFile, Source, Url


class LocalFetcher:
    """Fetches a LocalFile, or a Url with the scheme `file`. See CoreFetcher."""

    kind = LocalFile | Url

    def paths(self, source: Source, folder: Path) -> list[Path]:
        """Return the path of the file."""
        del folder
        return [_path(source)]

    def address(self, source: Source, settings: Settings) -> str:
        """Return the path of the file."""
        del settings
        return str(_path(source))

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """Return the file if it exists, or None.

        Raises:
            IntegrityError: Its SHA-256 is not the expected one.
        """
        return self(source, context) if _path(source).exists() else None

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """Return the file. If the source states a SHA-256, the file is compared with it.

        Raises:
            FetchError: The file does not exist.
            IntegrityError: Its SHA-256 is not the expected one.
        """
        del context
        path = _path(source)
        if not path.exists():
            facts: ErrorFacts = {"path": path, "advice": "Check the path."}
            if isinstance(source, Url):
                facts["url"] = source.url
            raise FetchError(f"{path} does not exist.", **facts)
        if isinstance(source, Url) and source.sha256_prefix:
            _compare(path, source)
        return Fetched(path)


def _path(source: Source) -> Path:
    assert isinstance(source, LocalFile | Url)
    return source.path if isinstance(source, LocalFile) else Path(url2pathname(urlsplit(source.url).path))


def _compare(path: Path, source: Url) -> None:
    found = file_sha256(path)
    if not found.startswith(source.sha256_prefix):
        raise IntegrityError(
            f"{path} does not have the expected content: its SHA-256 should begin with {source.sha256_prefix}, but is "
            f"{found}. Nothing was loaded.",
            path=path,
            url=source.url,
            expected=source.sha256_prefix,
            found=found,
            advice="Copy the file again.",
        )
