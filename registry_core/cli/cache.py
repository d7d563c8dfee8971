"""The commands about downloaded files: download and cache."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from registry_core.cli.command import Adder, Answer, add_common_options
from registry_core.errors import FetchError, IntegrityError
from registry_core.fetch.cache import Entry, cache_folder, entries, remove, unfinished
from registry_core.registry import Registry
from registry_core.render import columns, facts

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_SECONDS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def add_commands(add: Adder) -> None:
    """Add the commands of this module."""
    download = add("download", _download, "download the weights of a tag into the cache, or into a folder")
    download.add_argument("name")
    download.add_argument("tag", nargs="?")
    download.add_argument("--to", metavar="FOLDER", help="a folder that another machine can use as its cache")
    download.add_argument("--cache-dir", metavar="FOLDER")
    cache = add("cache", _cache, "list, verify or remove downloaded files, or print the location of the cache")
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    for name, (act, about) in _ACTIONS.items():
        action = actions.add_parser(name, help=about, description=about)
        action.set_defaults(act=act, pattern=[], unfinished=False)
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        add_common_options(action, "action")
        action.add_argument("--cache-dir", metavar="FOLDER")
        if act is not _path:
            action.add_argument("pattern", nargs="*", help="paths in the cache or sources, such as '*openai*'")
        if act is _remove:
            action.add_argument("--unfinished", action="store_true", help="also remove interrupted downloads")


def _download(registry: Registry, options: argparse.Namespace) -> Answer:
    path = registry.download(options.name, options.tag, options.cache_dir, to=options.to)
    rows = [("file", str(path)), ("size", size_text(path.stat().st_size))]
    if options.to:
        rows.append(("next", f"copy {options.to} to the other machine, and set REGISTRY_CORE_CACHE to it there"))
    return {"path": str(path), "size": path.stat().st_size}, lambda: facts(rows)


def _cache(registry: Registry, options: argparse.Namespace) -> Answer:
    del registry
    act: _Act = options.act
    return act(cache_folder(options.cache_dir), options)


def _path(folder: Path, options: argparse.Namespace) -> Answer:
    del options
    return {"path": str(folder)}, lambda: str(folder)


def _list(folder: Path, options: argparse.Namespace) -> Answer:
    found = _chosen(folder, options.pattern)
    interrupted = unfinished(folder)
    data = {
        "path": str(folder),
        "files": [_data(entry, folder) for entry in found],
        "unfinished": list(map(str, interrupted)),
    }
    return data, lambda: _table(found, interrupted, folder)


def _verify(folder: Path, options: argparse.Namespace) -> Answer:
    found = [(entry, entry.problem) for entry in _chosen(folder, options.pattern)]
    bad = [f"  {entry.path.relative_to(folder)}: {problem}" for entry, problem in found if problem]
    if bad:
        raise IntegrityError(
            f"{len(bad)} of {len(found)} files in {folder} are not what was downloaded:\n"
            + "\n".join(bad)
            + "\nNothing was removed.",
            path=folder,
            found=bad,
            advice="`registry-core cache remove PATTERN` removes them; they are downloaded again when needed.",
        )
    data = [{**_data(entry, folder), "problem": problem} for entry, problem in found]
    return data, lambda: f"{len(found)} files in {folder} are as they were downloaded."


def _remove(folder: Path, options: argparse.Namespace) -> Answer:
    if not options.pattern and not options.unfinished:
        raise FetchError(
            "cache remove needs a pattern such as '*openai*', or '*' for all files. Nothing was removed.",
            argument="pattern",
        )
    paths = [entry.path for entry in _chosen(folder, options.pattern)] if options.pattern else []
    paths += unfinished(folder) if options.unfinished else []
    if not paths:
        patterns = " ".join(options.pattern)
        raise FetchError(
            f"Nothing in {folder} matches {patterns or '--unfinished'}. Nothing was removed.",
            argument="pattern" if patterns else "--unfinished",
            path=folder,
            advice="`registry-core cache list` lists the files.",
        )
    freed = sum(path.stat().st_size for path in paths if path.exists())
    for path in paths:
        try:
            remove(path, folder)
        except OSError as error:
            raise FetchError(f"{path} could not be removed: {error.strerror or error}.", path=path) from error
    names = [str(path.relative_to(folder)) for path in paths]
    return {"removed": names, "freed": freed}, lambda: "\n".join([*names, f"{size_text(freed)} freed"])


_Act = Callable[[Path, argparse.Namespace], Answer]
_ACTIONS: dict[str, tuple[_Act, str]] = {
    "list": (_list, "list files with their size, age and source"),
    "verify": (_verify, "read all files again, and fail if a byte has changed"),
    "remove": (_remove, "remove files"),
    "path": (_path, "print the location of the cache"),
}


def _chosen(folder: Path, patterns: Sequence[str]) -> list[Entry]:
    """Return the entries whose path or source matches one of the patterns. Without patterns, return all entries."""
    found = entries(folder)
    if not patterns:
        return found
    return [
        entry
        for entry in found
        if any(
            fnmatchcase(name.casefold(), pattern.casefold())
            for name in (entry.path.relative_to(folder).as_posix(), entry.record.source if entry.record else "")
            for pattern in patterns
        )
    ]


def _data(entry: Entry, folder: Path) -> dict[str, Any]:
    record = entry.record
    return {
        "file": entry.path.relative_to(folder).as_posix(),
        "size": entry.path.stat().st_size,
        "source": record.source if record else None,
        "sha256": record.sha256 if record else None,
        "commit": record.commit if record else None,
        "fetched": record.fetched if record else None,
    }


def _table(found: list[Entry], interrupted: list[Path], folder: Path) -> str:
    rows = [
        (
            entry.path.relative_to(folder).as_posix(),
            size_text(entry.path.stat().st_size),
            age_text(entry.record.fetched) if entry.record else "no record",
            entry.record.source if entry.record else "",
        )
        for entry in found
    ]
    total = sum(entry.path.stat().st_size for entry in found)
    lines = [columns(("file", "size", "age", "from"), rows), f"{len(found)} files, {size_text(total)}, in {folder}"]
    if interrupted:
        size = size_text(sum(path.stat().st_size for path in interrupted))
        lines.append(f"{size} of interrupted downloads, which resume when the files are downloaded again")
    return "\n".join(lines)


def size_text(size: float) -> str:
    """Return a size in bytes as text, such as "577.2 MB"."""
    for unit in _UNITS[:-1]:
        if size < 1024:  # noqa: PLR2004 - each unit is 1024 of the one before
            return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def age_text(moment: str) -> str:
    """Return the time since an ISO 8601 moment as text, such as "3 days"."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return "unknown"
    for unit, length in _SECONDS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "just now"
