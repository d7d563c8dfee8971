"""From a source to a file on this machine.

A table maps schemes to fetchers; plugins add theirs through the `fetchers` hook. Downloads go to a temporary name in
the destination folder, are verified while they stream and moved into place: the final name never holds part of a file.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from registry_core.cache import Record, cached_record, keep
from registry_core.errors import FetchError, IntegrityError
from registry_core.weights import HubFile, LocalFile, Source, Url, Weights

if TYPE_CHECKING:
    import requests

_TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
_CHUNK = 1 << 20
_SHA256_DIGITS = 64
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine. `cached` says that it is in our own cache, immutable; `sha256` is empty if not known."""

    path: Path
    cached: bool = False
    sha256: str = ""


Fetcher = Callable[[Source, Path], Fetched]


def fetch(weights: Weights, fetchers: Mapping[str, Fetcher], folder: Path) -> Fetched:
    """Bring the bytes of the first source that can be had.

    Args:
        weights: their sources are tried in order.
        fetchers: of plugins, beside the core's own.
        folder: the cache.

    Raises:
        FetchError: no source gave the file; the message says why for each.
    """
    table = {**fetchers, **FETCHERS}
    failures: list[FetchError] = []
    for source in weights.sources:
        fetcher = table.get(source.scheme)
        if fetcher is None:
            failures.append(FetchError(f"{source}: no fetcher for {source.scheme!r}; there are {', '.join(table)}."))
            continue
        try:
            return fetcher(source, folder)
        except FetchError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    reasons = "\n".join(f"  {failure}" for failure in failures)
    raise FetchError(f"The weights of {weights} could not be brought here:\n{reasons}") from failures[-1]


def location(source: Source, folder: Path) -> list[Path]:
    """Where a source's file is, or would be; a hub file has one place for each name it may have."""
    match source:
        case LocalFile():
            return [source.path]
        case HubFile():
            return [
                folder / "hub" / source.repo.replace("/", "--") / source.revision / name for name in source.filenames
            ]
        case Url(url=url) if source.scheme == "file":
            return [Path(url2pathname(urlsplit(url).path))]
        case Url(url=url):
            name = Path(unquote(urlsplit(url).path)).name or "index"
            return [folder / "url" / hashlib.sha256(url.encode()).hexdigest()[:16] / name]
        case _:
            return []


def _fetch_local(source: Source, folder: Path) -> Fetched:
    path = location(source, folder)[0]
    if not path.exists():
        raise FetchError(f"{path} does not exist. Check the path.")
    return Fetched(path)


def _fetch_url(source: Source, folder: Path) -> Fetched:
    assert isinstance(source, Url)
    path = location(source, folder)[0]
    return _download(source.url, path, source.sha256_prefix, {})


def _fetch_hub(source: Source, folder: Path) -> Fetched:
    assert isinstance(source, HubFile)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    absent = []
    for name, path in zip(source.filenames, location(source, folder), strict=True):
        try:
            return _download(f"{endpoint}/{source.repo}/resolve/{source.revision}/{name}", path, "", headers)
        except _AbsentError as error:
            absent.append(str(error))
    raise FetchError(f"{source}: none of the files is there. {' '.join(absent)}")


FETCHERS: dict[str, Fetcher] = {
    "file": _fetch_local,
    "http": _fetch_url,
    "https": _fetch_url,
    "hf-hub": _fetch_hub,
}


class _AbsentError(FetchError):
    """The server is there and has no such file."""


def _download(url: str, path: Path, sha256_prefix: str, headers: dict[str, str]) -> Fetched:
    """A URL's file from the cache, or over the network into it."""
    record = cached_record(path)
    if record is not None and record.sha256.startswith(sha256_prefix):
        return Fetched(path, cached=True, sha256=record.sha256)
    for variable in ("REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "0").lower() not in {"", "0", "false", "no"}:
            raise FetchError(
                f"{url} is not in the cache ({path}) and {variable} forbids the network. Nothing was asked for. "
                "Copy the cache folder from a machine that has it, or give pretrained= the path of the file."
            )
    import requests

    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT, headers=headers) as response:
            if response.status_code == _NOT_FOUND:
                raise _AbsentError(f"{url} does not exist (HTTP 404).")
            response.raise_for_status()
            return _receive(response, url, path, sha256_prefix)
    except requests.RequestException as error:
        raise FetchError(
            f"{url} could not be downloaded: {error}. Nothing was kept. Check the network and its proxies, or download "
            "the file elsewhere and give pretrained= its path."
        ) from error
    except OSError as error:
        raise FetchError(f"{url} could not be written to {path.parent}: {error}. Nothing was kept.") from error


def _receive(response: requests.Response, url: str, path: Path, sha256_prefix: str) -> Fetched:
    """Stream a response into the cache, verified on the way."""
    from tqdm import tqdm

    length = int(response.headers.get("Content-Length", 0)) if "Content-Encoding" not in response.headers else 0
    linked = next(
        (r.headers["X-Linked-Etag"] for r in (*response.history, response) if "X-Linked-Etag" in r.headers), ""
    )
    expected = sha256_prefix or (linked.strip('"') if len(linked.strip('"')) == _SHA256_DIGITS else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, received = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as temporary:
        part = Path(temporary.name)
        try:
            with tqdm(
                total=length or None, unit="B", unit_scale=True, desc=path.name, disable=not sys.stderr.isatty()
            ) as bar:
                for chunk in response.iter_content(_CHUNK):
                    temporary.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    bar.update(len(chunk))
            temporary.close()
            _verify(url, received, length, digest.hexdigest(), expected)
            keep(part, path, Record(digest.hexdigest(), received, url))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return Fetched(path, cached=True, sha256=digest.hexdigest())


def _verify(url: str, received: int, length: int, sha256: str, expected: str) -> None:
    if length and received != length:
        raise IntegrityError(f"{url} broke off: {received:,} of {length:,} bytes came. Nothing was kept; try again.")
    if not sha256.startswith(expected):
        raise IntegrityError(
            f"{url} gave other bytes than expected: SHA-256 should start with {expected}, is {sha256}. Nothing was "
            "kept. A proxy or mirror may have answered with another file; try again from another network."
        )
