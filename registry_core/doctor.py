"""Checks of an installation: what is there, what is missing or broken, whose fault it is and what to do."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from registry_core.cache import cache_folder, cached_record, entries, unfinished
from registry_core.clashes import find_clashes
from registry_core.errors import RegistryError
from registry_core.factory import Registry
from registry_core.plugins import GROUP, OWN, Plugin
from registry_core.render import columns
from registry_core.user_configs import configs_on_path

# What the developers of registry_core need says nothing about a user's installation.
_FOR_DEVELOPERS = frozenset({"test", "parity", "lint", "dev"})
_VARIABLES = ("REGISTRY_CORE_", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check.

    Attributes:
        state: "ok", "absent" (optional, and not there), "warning" or "problem".
        subject: what was looked at.
        text: what was found, and what to do about it.
        details: a traceback, where there is one.
    """

    state: str
    subject: str
    text: str
    details: str = ""


def examine(registry: Registry) -> list[Finding]:
    """Every finding of every check, in a fixed order. A check that fails itself is a finding."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(registry)
        except Exception as error:  # noqa: BLE001 - the patient may be in any state
            subject = check.__name__.removeprefix("_")
            findings.append(Finding("problem", subject, f"could not be checked: {error}", _trace(error)))
    return findings


def describe(findings: Iterable[Finding]) -> str:
    """The findings as a table, then the tracebacks, then the sum."""
    known = list(findings)
    parts = [columns(("state", "subject", "finding"), ((f.state, f.subject, f.text) for f in known))]
    parts += [f"{f.subject}\n\n{f.details.rstrip()}" for f in known if f.details]
    counts = {state: sum(f.state == state for f in known) for state in ("problem", "warning")}
    return "\n\n".join([*parts, ", ".join(f"{count} {state}{'s' * (count != 1)}" for state, count in counts.items())])


def _surroundings(registry: Registry) -> Iterator[Finding]:
    del registry
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}")
    yield Finding("ok", OWN, f"{metadata.version(OWN)} at {Path(__file__).parent}")
    for name, value in sorted(os.environ.items()):
        if name.upper().startswith(_VARIABLES) and value:
            yield Finding("ok", name, re.sub(r"//[^/@]*@", "//***@", value))  # proxies may hold a password


def _torch(registry: Registry) -> Iterator[Finding]:
    del registry
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # noqa: BLE001 - a broken torch raises anything, OSError of a library above all
        text = f"cannot be imported: {error}. Models are listed but not created; reinstall it: https://pytorch.org"
        yield Finding("problem", "torch", text, _trace(error))
        return
    devices = ["cpu"]
    devices += [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield Finding("ok", "torch", f"{torch.__version__} on {', '.join(devices)}")


def _requirements(registry: Registry) -> Iterator[Finding]:
    del registry
    yield from (Finding("problem", OWN, text) for text in _unmet(OWN, ""))
    for extra in metadata.metadata(OWN).get_all("Provides-Extra") or ():
        if extra not in _FOR_DEVELOPERS:
            unmet = _unmet(OWN, extra)
            text = f"{'; '.join(unmet)}. If you need it: pip install '{OWN}[{extra}]'" if unmet else "installed"
            yield Finding("absent" if unmet else "ok", f"extra {extra}", text)


def _plugins(registry: Registry) -> Iterator[Finding]:
    registry.services.lookup.rehearse()  # some faults show only at the first question
    for plugin in registry.plugins():
        subject = f"plugin {plugin}"
        if plugin.error is not None:
            yield Finding("problem", subject, str(plugin.error), _trace(plugin.error))
        else:
            where = plugin.file or plugin.location
            yield Finding("ok", subject, f"{plugin.state}, {where}" + (f", API {plugin.api}" if plugin.api else ""))
        yield from (Finding("warning", subject, note) for note in plugin.notes)
    yield from _distributions(registry.plugins())


def _distributions(plugins: Iterable[Plugin]) -> Iterator[Finding]:
    """Requirements of the distributions that bring plugins."""
    for name in sorted({plugin.distribution for plugin in plugins} - {OWN}):
        try:
            unmet = _unmet(name, "")
        except metadata.PackageNotFoundError:  # registered by hand, or only named
            continue
        for text in unmet:
            yield Finding("warning", f"distribution {name}", f"{text}. Reinstall it with its dependencies")


def _entry_points(registry: Registry) -> Iterator[Finding]:
    """Installations of a plugin's distribution that another one on the path hides."""
    del registry
    seen: dict[str, str] = {}
    for distribution in metadata.distributions():
        if not any(entry.group == GROUP for entry in distribution.entry_points):
            continue
        name, place = canonicalize_name(distribution.name), f"{distribution.version} in {distribution.locate_file('')}"
        if name in seen and seen[name] != place:
            text = f"installed twice: {seen[name]} is used and hides {place}. Uninstall one of the two"
            yield Finding("warning", f"distribution {distribution.name}", text)
        seen.setdefault(name, place)


def _clashes(registry: Registry) -> Iterator[Finding]:
    for clash in find_clashes(registry.services):
        yield Finding("warning", "clash", str(clash))


def _configs(registry: Registry) -> Iterator[Finding]:
    """The user's configs: readable, and claimed by somebody."""
    try:
        found = configs_on_path()
    except RegistryError as error:
        yield Finding("problem", "user configs", str(error), _trace(error))
        return
    for name, config in found.items():
        try:
            registry.services.claim(config.raw, config.origin)
        except RegistryError as error:
            yield Finding("problem", f"config {name}", str(error))


def _cache(registry: Registry) -> Iterator[Finding]:
    del registry
    folder = cache_folder()
    if not folder.exists():
        yield Finding("ok", "cache", f"{folder}, empty so far")
        return
    if not os.access(folder, os.W_OK):
        yield Finding("warning", "cache", f"{folder} cannot be written to: what it holds is used, nothing is added")
    found = entries(folder)
    whole = [record.size for record in (cached_record(entry.path) for entry in found) if record is not None]
    yield Finding("ok", "cache", f"{folder}, {len(whole)} files, {sum(whole):,} bytes")
    for entry in found:
        if cached_record(entry.path) is None:
            text = f"{entry.path} is not of its recorded length: it is not used, and fetched again when it is asked for"
            yield Finding("warning", "cache", text)
    for path in unfinished(folder):
        yield Finding("ok", "cache", f"{path} is of a download that broke off; the next one goes on from it")


CHECKS: tuple[Callable[[Registry], Iterator[Finding]], ...] = (
    _surroundings,
    _torch,
    _requirements,
    _plugins,
    _entry_points,
    _clashes,
    _configs,
    _cache,
)


def _unmet(distribution: str, extra: str) -> list[str]:
    """What a distribution needs and has not got; with an extra, only what that adds."""
    unmet = []
    for line in metadata.requires(distribution) or ():
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if not _asks(needed, extra):
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            unmet.append(f"{needed.name} is not installed")
            continue
        if not needed.specifier.contains(version, prereleases=True):
            unmet.append(f"{needed.name} {version} is installed, needed is {needed.specifier}")
    return unmet


def _asks(needed: Requirement, extra: str) -> bool:
    """Whether a requirement holds here: for an extra, and not without it."""
    plain = needed.marker is None or needed.marker.evaluate({"extra": ""})
    if not extra:
        return plain
    return needed.marker is not None and needed.marker.evaluate({"extra": extra}) and not plain


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
