"""Fetching: from a source to a file on this machine.

A table maps schemes to fetchers. Plugins add fetchers through the `fetchers` hook.

sources.py, repository.py   what can be fetched: a file, a URL, a hub file; a folder or repository of several files
contract.py      what a fetcher receives and returns
settings.py      offline mode, mirrors, time-outs
dispatch.py      the fetcher of a source
hub.py, web.py, local.py    the core's fetchers, one for each type of source
user_folders.py  the user's cache and settings, also without a home folder
cache.py         the folder of fetched files; digest.py computes their SHA-256
jobs.py          a file that should be in the cache; only one process at a time fetches it
download.py      downloading a file; responses.py checks the server's answers, retry.py decides about retries
copying.py       copying a file, from a mirror on a disk or from another cache
partial_file.py  partial files, and resuming them
lock.py          one download of a file at a time, as far as locks work
progress.py      the caller's progress function, or a progress bar

The names below are for plugins. The loggers of this package report downloads at INFO and cache hits at DEBUG.
"""

from registry_core.fetch.contract import AbsentError, FetchContext, Fetched, Fetcher, Progress
from registry_core.fetch.dispatch import FETCHERS, address, at_hand, fetch, location
from registry_core.fetch.repository import CONFIG_FILENAME, WEIGHTS_FILENAME, ModelRepository
from registry_core.fetch.settings import Settings
from registry_core.fetch.sources import HubFile, LocalFile, Source, Url, Weights, local_weights
from registry_core.path_safety import is_repository, is_revision

__all__ = [
    "CONFIG_FILENAME",
    "FETCHERS",
    "WEIGHTS_FILENAME",
    "AbsentError",
    "FetchContext",
    "Fetched",
    "Fetcher",
    "HubFile",
    "LocalFile",
    "ModelRepository",
    "Progress",
    "Settings",
    "Source",
    "Url",
    "Weights",
    "address",
    "at_hand",
    "fetch",
    "is_repository",
    "is_revision",
    "local_weights",
    "location",
]
