"""Files of Hugging Face hub repositories: {endpoint}/{repository}/resolve/{revision}/{file}.

Their path in the cache is hub/<organisation>--<name>/<revision>/<file>. A file in huggingface_hub's own cache is used
in place. registry_core does not own that cache, so it writes nothing there and maps no file of it.
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from registry_core.checkpoint.shards import INDEX_SUFFIX, shard_names
from registry_core.errors import CheckpointError, ErrorFacts, FetchError
from registry_core.fetch.cache import Record, record_of
from registry_core.fetch.contract import AbsentError, FetchContext, Fetched
from registry_core.fetch.copying import copied
from registry_core.fetch.download import download
from registry_core.fetch.jobs import DownloadJob, cached
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import HubFile, Source
from registry_core.fetch.user_folders import expanded
from registry_core.path_safety import inside

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubFetcher:
    """Fetches a HubFile. See CoreFetcher."""

    kind = HubFile

    def paths(self, source: Source, folder: Path) -> list[Path]:
        """Return one path in the cache for each name that the file may have.

        Raises:
            FetchError: The repository is not valid, or a name cannot be used as a file name in the cache.
        """
        assert isinstance(source, HubFile)
        return [_path(source, name, folder) for name in source.filenames]

    def address(self, source: Source, settings: Settings) -> str:
        """Return the URL of the first name."""
        assert isinstance(source, HubFile)
        return _url(source, source.filenames[0], settings)

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """Return the file from the cache, from a fallback cache, or from huggingface_hub's cache, or None."""
        assert isinstance(source, HubFile)
        for name in source.filenames:
            found = _cached_with_shards(source, name, context.folder) or _from_other_cache(source, name, context)
            if found is not None:
                return found
        return None

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """Return the first file that exists in the repository. The file and all its shards are downloaded if necessary.

        Raises:
            AbsentError: The repository has none of the files.
            FetchError: As for `download`.
        """
        assert isinstance(source, HubFile)
        absent: list[AbsentError] = []
        for name in source.filenames:
            try:
                fetched = download(_job(source, name, context), context)
                for shard in _shards(fetched.path):
                    download(_job(_pinned(source, fetched.path), shard, context, source.revision), context)
            except AbsentError as error:
                absent.append(error)
            else:
                return fetched
        if len(absent) == 1:
            raise absent[0]
        raise _none_exists(source, absent) from absent[-1]


def _none_exists(source: HubFile, absent: list[AbsentError]) -> AbsentError:
    facts: ErrorFacts = {"name": source.repo, "expected": source.filenames}
    if absent[-1].url is not None:
        facts["url"] = absent[-1].url
    if absent[-1].status is not None:
        facts["status"] = absent[-1].status
    lines = "\n".join(f"    {error}" for error in absent)
    return AbsentError(f"{source}: the repository has none of these files.\n{lines}", **facts)


def _job(source: HubFile, name: str, context: FetchContext, folder_revision: str | None = None) -> DownloadJob:
    """Return the job for a file. `folder_revision` is the revision whose folder is used, by default the file's own."""
    path = _path(replace(source, revision=folder_revision or source.revision), name, context.folder)
    # All files in a folder belong to one commit, even if the branch moves between their downloads.
    commit = next((record.commit for record in _records(path.parent) if record.commit), source.revision)
    url = _url(replace(source, revision=commit), name, context.settings)
    # The token is sent to the user's hub endpoint only, never to a mirror that replaces a host.
    token = _token() if context.settings.mirrored(url) == url else ""
    return DownloadJob(_identity(source, name), url, path, token=token)


def _records(folder: Path) -> Iterator[Record]:
    paths = (path.with_suffix("") for path in sorted(folder.glob("*.record")))
    return (record for path in paths if (record := record_of(path)) is not None)


def _url(source: HubFile, name: str, settings: Settings) -> str:
    return f"{settings.endpoint}/{source.repo}/resolve/{quote(source.revision, safe='')}/{quote(name)}"


def _identity(source: HubFile, name: str) -> str:
    return f"hf-hub:{source.repo}@{source.revision}/{name}"


def _path(source: HubFile, name: str, folder: Path) -> Path:
    repo = source.repo.replace("/", "--")
    if source.repo.count("/") > 1 or "--" in source.repo:
        raise FetchError(
            f"{source.repo!r} is not a hub repository, expected organisation/name. Nothing was fetched.",
            name=source.repo,
            expected="organisation/name",
            found=source.repo,
        )
    for part in (source.repo, source.revision):  # checked separately: joining would hide a `..`
        inside(folder, part, what=f"In {source}, the part")
    revision = quote(source.revision, safe="")
    return inside(folder, "hub", repo, revision, name, what=f"In {source}, the part")


def _pinned(source: HubFile, path: Path) -> HubFile:
    """Return the repository at the commit of a fetched file, so that its shards belong to the same commit."""
    record = record_of(path)
    return replace(source, revision=record.commit) if record is not None and record.commit else source


def _shards(path: Path) -> list[str]:
    """Return the names of the shards of an index. A damaged index gives []; loading it reports the damage."""
    try:
        return shard_names(path) if path.name.endswith(INDEX_SUFFIX) else []
    except CheckpointError:
        return []


def _cached_with_shards(source: HubFile, name: str, folder: Path) -> Fetched | None:
    """Return a file of a registry_core cache if the file and all its shards are in it, or None."""
    path = _path(source, name, folder)
    found = cached(DownloadJob(_identity(source, name), "", path))
    if found is None:
        return None
    pinned = _pinned(source, path)
    shards = [
        cached(DownloadJob(_identity(pinned, shard), "", _path(source, shard, folder))) for shard in _shards(path)
    ]
    return found if all(shards) else None


def _from_other_cache(source: HubFile, name: str, context: FetchContext) -> Fetched | None:
    """Return a file of another cache, used in place or copied into the cache; or None."""
    for folder in context.fallback_caches:
        if _cached_with_shards(source, name, folder) is not None:
            path = _path(source, name, folder)
            record = record_of(path)
            return _copy_with_shards(source, name, path, record.commit if record else "", context)
    found = _in_huggingface_cache(source, name)
    if found is None:
        return None
    path, commit = found
    return Fetched(path) if context.reuse_foreign_cache else _copy_with_shards(source, name, path, commit, context)


def _copy_with_shards(source: HubFile, name: str, origin: Path, commit: str, context: FetchContext) -> Fetched:
    """Copy a file and its shards into the cache."""
    fetched = copied(_job(source, name, context), origin, context, commit)
    pinned = _pinned(source, fetched.path)
    for shard in _shards(fetched.path):
        copied(_job(pinned, shard, context, source.revision), origin.with_name(shard), context, commit)
    return fetched


def _in_huggingface_cache(source: HubFile, name: str) -> tuple[Path, str] | None:
    """Return the path and the commit of a file in huggingface_hub's cache if all its shards are there too, or None."""
    repo = _huggingface_cache() / f"models--{source.repo.replace('/', '--')}"
    try:
        commit = source.revision
        if not _COMMIT.fullmatch(commit):
            commit = (repo / "refs" / source.revision).read_text(encoding="utf-8").strip()
        path = inside(repo / "snapshots", commit, name, what=f"In {source}, the part")
        complete = path.is_file() and all(path.with_name(shard).is_file() for shard in _shards(path))
    except (OSError, ValueError):
        return None
    return (path, commit) if complete else None


def _huggingface_home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(os.path.expandvars(os.environ.get("HF_HOME") or f"{base}/huggingface"))


def _huggingface_cache() -> Path:
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return expanded(os.path.expandvars(given)) if given else _huggingface_home() / "hub"


def _token() -> str:
    """Return the user's Hugging Face token, from the environment or from the file that a login writes."""
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    if given:
        return given.strip()
    given = os.environ.get("HF_TOKEN_PATH")
    path = expanded(given) if given else _huggingface_home() / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
