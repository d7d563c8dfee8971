"""The folder of downloaded weights: complete, verified files only, each with a record of its hash beside it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_cache_path

ENVIRONMENT = "REGISTRY_CORE_CACHE"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a cached file: its hash and length when it was verified, and where it came from."""

    sha256: str
    size: int
    url: str


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The argument, else REGISTRY_CORE_CACHE, else the system's folder for caches. Nothing is created."""
    chosen = given or os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else user_cache_path("registry_core")


def cached_record(path: Path) -> Record | None:
    """The record of a file that is there and has its recorded length, else None."""
    try:
        record = Record(**json.loads(_record_path(path).read_text(encoding="utf-8")))
        return record if path.stat().st_size == record.size else None
    except (OSError, ValueError, TypeError):
        return None


def keep(temporary: Path, path: Path, record: Record) -> None:
    """Move a verified file to its final name. The record goes first, so that a file without one is never complete."""
    note = temporary.with_suffix(".record")
    note.write_text(json.dumps(asdict(record)), encoding="utf-8")
    path.unlink(missing_ok=True)
    note.replace(_record_path(path))
    temporary.replace(path)


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
