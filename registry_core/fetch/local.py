"""Files of this machine: paths, and file: URLs. They are used where they lie, and never mapped: they are not ours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry_core.errors import FetchError, IntegrityError
from registry_core.fetch.contract import FetchContext, Fetched
from registry_core.fetch.settings import Settings
from registry_core.weights import LocalFile, Source, Url


class LocalFetcher:
    """Fetches a LocalFile, or a Url of the scheme file; see CoreFetcher."""

    kind = LocalFile | Url

    def places(self, source: Source, folder: Path) -> list[Path]:
        """One path."""
        del folder
        return [_path(source)]

    def address(self, source: Source, settings: Settings) -> str:
        """The path."""
        del settings
        return str(_path(source))

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """The file, if it is there."""
        return self(source, context) if _path(source).exists() else None

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """The file itself; where its hash is known, it is compared.

        Raises:
            FetchError: it is not there.
            IntegrityError: its hash is another.
        """
        del context
        path = _path(source)
        if not path.exists():
            raise FetchError(f"{path} does not exist. Check the path.")
        if isinstance(source, Url) and source.sha256_prefix:
            _compare(path, source.sha256_prefix)
        return Fetched(path)


def _path(source: Source) -> Path:
    assert isinstance(source, LocalFile | Url)
    return source.path if isinstance(source, LocalFile) else Path(url2pathname(urlsplit(source.url).path))


def _compare(path: Path, prefix: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix):
        raise IntegrityError(
            f"{path} holds other bytes than expected: its SHA-256 should begin with {prefix}, is {found}. Nothing was "
            "loaded; copy the file again."
        )
