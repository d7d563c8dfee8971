"""The file of a tag, into the cache or into a folder for another machine."""

from __future__ import annotations

from pathlib import Path

from registry_core.errors import OverrideError
from registry_core.fetch.cache import cache_folder
from registry_core.fetch.contract import Progress
from registry_core.resolve.services import Services


def download_weights(
    services: Services,
    name: str,
    tag: str | None,
    cache_dir: Path | None,
    *,
    to: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch weights and return their path.

    Args:
        services: Resolve the name and the tag.
        name: Model name.
        tag: Tag of the weights; None means those of a model repository.
        cache_dir: Where downloads are kept; None means the usual folder.
        to: A folder that serves another machine as a cache. A file that is in the cache is copied.
        progress: Called with the file's name, the bytes so far and the bytes in total, or None.

    Raises:
        UnknownModelError, UnknownWeightsError, FetchError: As for `Registry.download`.
        OverrideError: There is no tag, and the name does not refer to a model repository.
    """
    folder = cache_dir if to is None else to
    resolved = services.resolve(name, folder)
    found = services.find_weights(resolved, tag)
    if found is None:
        raise OverrideError(f"download needs a tag of {name}, got {tag!r}.", argument="tag", found=tag)
    if to is None:
        return services.fetch_found(resolved, found, folder, progress=progress).path
    others = (cache_folder(cache_dir),)
    return services.fetch_found(
        resolved, found, folder, progress=progress, fallback_caches=others, reuse_foreign_cache=False
    ).path
