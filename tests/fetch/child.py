"""Fetch one URL in a separate process: `child.py FOLDER URL [nolock]`. Prints `ready`, then the hash of the file."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from registry_core import Url, Weights
from registry_core.fetch import FetchContext, Settings, fetch


class FalseLock:
    """A lock that every process gets."""

    def __init__(self, path, **options):
        self.lock_file, self.is_locked = path, False

    def acquire(self, **options):
        self.is_locked = False


folder, url, *options = sys.argv[1:]
if "nolock" in options:
    import filelock

    filelock.FileLock = FalseLock
print("ready", flush=True)
found = fetch(Weights((Url(url),)), {}, FetchContext(Path(folder), Settings(backoff=0.05)))
assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.sha256
print(found.sha256, flush=True)
