"""Files of Hugging Face hub repositories: {endpoint}/{repository}/resolve/{revision}/{file}.

In the cache: hub/<organisation>--<name>/<revision>/<file>. huggingface_hub's own cache is read where it has the file;
it is not ours, so nothing is written there and nothing of it is mapped.
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from registry_core.cache import Record, record_of
from registry_core.checkpoint.shards import INDEX_SUFFIX, shard_names
from registry_core.errors import CheckpointError, FetchError
from registry_core.fetch.contract import AbsentError, FetchContext, Fetched
from registry_core.fetch.copying import copied
from registry_core.fetch.download import download
from registry_core.fetch.jobs import Job, cached
from registry_core.fetch.settings import Settings
from registry_core.safe_names import inside
from registry_core.weights import HubFile, Source

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubFetcher:
    """Fetches a HubFile; see CoreFetcher."""

    kind = HubFile

    def places(self, source: Source, folder: Path) -> list[Path]:
        """A path for each name that the file may have."""
        assert isinstance(source, HubFile)
        return [_place(source, name, folder) for name in source.filenames]

    def address(self, source: Source, settings: Settings) -> str:
        """The URL of the first name."""
        assert isinstance(source, HubFile)
        return _url(source, source.filenames[0], settings)

    def at_hand(self, source: Source, context: FetchContext) -> Fetched | None:
        """From the cache, from another cache of ours, or from huggingface_hub's."""
        assert isinstance(source, HubFile)
        for name in source.filenames:
            found = _whole(source, name, context.folder) or _from_elsewhere(source, name, context)
            if found is not None:
                return found
        return None

    def __call__(self, source: Source, context: FetchContext) -> Fetched:
        """From the cache, or the first of its names that the repository has, downloaded into it; with all its shards.

        Raises:
            FetchError: the repository has none of the names, or gives none.
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
        lines = "\n".join(f"    {error}" for error in absent)
        raise AbsentError(f"{source}: the repository has none of these files.\n{lines}") from absent[-1]


def _job(source: HubFile, name: str, context: FetchContext, folder_of: str | None = None) -> Job:
    """What to ask for; `folder_of` is the revision whose folder the file goes to, if not its own."""
    place = _place(replace(source, revision=folder_of or source.revision), name, context.folder)
    # All files of a folder are of one commit, however the branch moves between their downloads.
    commit = next((record.commit for record in _records(place.parent) if record.commit), source.revision)
    url = _url(replace(source, revision=commit), name, context.settings)
    # A secret goes where the user's settings send hub files, and not to a mirror that stands in for some host.
    token = _token() if context.settings.mirrored(url) == url else ""
    return Job(_identity(source, name), url, place, token=token)


def _records(folder: Path) -> Iterator[Record]:
    paths = (path.with_suffix("") for path in sorted(folder.glob("*.record")))
    return (record for path in paths if (record := record_of(path)) is not None)


def _url(source: HubFile, name: str, settings: Settings) -> str:
    return f"{settings.endpoint}/{source.repo}/resolve/{quote(source.revision, safe='')}/{quote(name)}"


def _identity(source: HubFile, name: str) -> str:
    return f"hf-hub:{source.repo}@{source.revision}/{name}"


def _place(source: HubFile, name: str, folder: Path) -> Path:
    repo = source.repo.replace("/", "--")
    if source.repo.count("/") > 1 or "--" in source.repo:
        raise FetchError(f"{source.repo!r} is no hub repository; expected organisation/name. Nothing was fetched.")
    for part in (source.repo, source.revision):  # each part on its own: joined, a `..` would no longer look like one
        inside(folder, part, what=f"Of {source}, the part")
    revision = quote(source.revision, safe="")
    return inside(folder, "hub", repo, revision, name, what=f"Of {source}, the part")


def _pinned(source: HubFile, path: Path) -> HubFile:
    """The same repository at the commit that a fetched file is of, so that its shards are of no other."""
    record = record_of(path)
    return replace(source, revision=record.commit) if record is not None and record.commit else source


def _shards(path: Path) -> list[str]:
    """The shards beside an index; what is wrong with a bad index is said where it is loaded."""
    try:
        return shard_names(path) if path.name.endswith(INDEX_SUFFIX) else []
    except CheckpointError:
        return []


def _whole(source: HubFile, name: str, folder: Path) -> Fetched | None:
    """A file of a cache of ours, if it and all its shards are there."""
    path = _place(source, name, folder)
    found = cached(Job(_identity(source, name), "", path))
    if found is None:
        return None
    pinned = _pinned(source, path)
    shards = [cached(Job(_identity(pinned, shard), "", _place(source, shard, folder))) for shard in _shards(path)]
    return found if all(shards) else None


def _from_elsewhere(source: HubFile, name: str, context: FetchContext) -> Fetched | None:
    """A file of another cache: used where it lies, or copied into ours."""
    for other in context.elsewhere:
        if _whole(source, name, other) is not None:
            place = _place(source, name, other)
            record = record_of(place)
            return _copy_all(source, name, place, record.commit if record else "", context)
    theirs = _in_their_cache(source, name)
    if theirs is None:
        return None
    path, commit = theirs
    return Fetched(path) if context.borrow else _copy_all(source, name, path, commit, context)


def _copy_all(source: HubFile, name: str, origin: Path, commit: str, context: FetchContext) -> Fetched:
    """A file and its shards into our cache."""
    fetched = copied(_job(source, name, context), origin, context, commit)
    pinned = _pinned(source, fetched.path)
    for shard in _shards(fetched.path):
        copied(_job(pinned, shard, context, source.revision), origin.with_name(shard), context, commit)
    return fetched


def _in_their_cache(source: HubFile, name: str) -> tuple[Path, str] | None:
    """The file in huggingface_hub's cache, if it and all its shards are there, and its commit."""
    repo = _their_cache() / f"models--{source.repo.replace('/', '--')}"
    try:
        commit = source.revision
        if not _COMMIT.fullmatch(commit):
            commit = (repo / "refs" / source.revision).read_text(encoding="utf-8").strip()
        path = inside(repo / "snapshots", commit, name, what=f"Of {source}, the part")
        complete = path.is_file() and all(path.with_name(shard).is_file() for shard in _shards(path))
    except (OSError, ValueError):
        return None
    return (path, commit) if complete else None


def _their_home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expandvars(os.environ.get("HF_HOME") or f"{base}/huggingface")).expanduser()


def _their_cache() -> Path:
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(named)).expanduser() if named else _their_home() / "hub"


def _token() -> str:
    """The user's token: of the environment, or of the file that a login writes."""
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    if given:
        return given.strip()
    path = Path(os.environ.get("HF_TOKEN_PATH") or _their_home() / "token").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
