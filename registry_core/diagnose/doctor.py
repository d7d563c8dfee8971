"""Checks of an installation: what works, what is missing or broken, which package is at fault and what to do."""

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

from registry_core.config.user import configs_on_path
from registry_core.diagnose.conflicts import find_conflicts
from registry_core.errors import RegistryError
from registry_core.fetch.cache import cache_folder, cached_record, entries, unfinished
from registry_core.hooks.host import GROUP, OWN
from registry_core.hooks.plugin import Plugin
from registry_core.render import columns
from registry_core.resolve.services import Services

# Extras that only developers of registry_core need.
_FOR_DEVELOPERS = frozenset({"test", "parity", "lint", "dev"})
_VARIABLES = ("REGISTRY_CORE_", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check.

    Attributes:
        state: "ok", "absent" (optional, and not installed), "warning" or "problem".
        subject: What was checked.
        text: What was found, and what to do about it.
        details: A traceback, or an empty string.
    """

    state: str
    subject: str
    text: str
    details: str = ""


def examine(services: Services) -> list[Finding]:
    """Run all checks in a fixed order and return their findings. A check that fails is a finding too."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(services)
        except Exception as error:  # noqa: BLE001 - a damaged installation raises anything
            subject = check.__name__.removeprefix("_")
            findings.append(Finding("problem", subject, f"could not be checked: {error}", _trace(error)))
    return findings


def describe(findings: Iterable[Finding]) -> str:
    """Return the findings as text: a table, then the tracebacks, then the number of problems and warnings."""
    known = list(findings)
    parts = [columns(("state", "subject", "finding"), ((f.state, f.subject, f.text) for f in known))]
    parts += [f"{f.subject}\n\n{f.details.rstrip()}" for f in known if f.details]
    counts = {state: sum(f.state == state for f in known) for state in ("problem", "warning")}
    return "\n\n".join([*parts, ", ".join(f"{count} {state}{'s' * (count != 1)}" for state, count in counts.items())])


def _environment(services: Services) -> Iterator[Finding]:
    del services
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}")
    yield Finding("ok", OWN, f"{metadata.version(OWN)} at {Path(__file__).parents[1]}")
    for name, value in sorted(os.environ.items()):
        if name.upper().startswith(_VARIABLES) and value:
            yield Finding("ok", name, re.sub(r"//[^/@]*@", "//***@", value))  # proxies may hold a password


def _torch(services: Services) -> Iterator[Finding]:
    del services
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # noqa: BLE001 - a broken torch raises anything, OSError of a library above all
        text = f"cannot be imported: {error}. Models are listed but not created. Reinstall torch: https://pytorch.org"
        yield Finding("problem", "torch", text, _trace(error))
        return
    devices = ["cpu"]
    devices += [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield Finding("ok", "torch", f"{torch.__version__} on {', '.join(devices)}")


def _requirements(services: Services) -> Iterator[Finding]:
    del services
    yield from (Finding("problem", OWN, text) for text in _unmet(OWN, ""))
    for extra in metadata.metadata(OWN).get_all("Provides-Extra") or ():
        if extra not in _FOR_DEVELOPERS:
            unmet = _unmet(OWN, extra)
            text = f"{'; '.join(unmet)}. If you need it: pip install '{OWN}[{extra}]'" if unmet else "installed"
            yield Finding("absent" if unmet else "ok", f"extra {extra}", text)


def _plugins(services: Services) -> Iterator[Finding]:
    services.probe_plugins()  # some plugins fail only when a hook is called
    for plugin in services.plugins():
        subject = f"plugin {plugin}"
        if plugin.error is not None:
            yield Finding("problem", subject, str(plugin.error), _trace(plugin.error))
        else:
            file = plugin.file or plugin.location
            yield Finding("ok", subject, f"{plugin.state}, {file}" + (f", API {plugin.api}" if plugin.api else ""))
        yield from (Finding("warning", subject, note) for note in plugin.notes)
    yield from _distributions(services.plugins())


def _distributions(plugins: Iterable[Plugin]) -> Iterator[Finding]:
    """Check the requirements of each distribution that provides plugins."""
    for name in sorted({plugin.distribution for plugin in plugins} - {OWN}):
        try:
            unmet = _unmet(name, "")
        except metadata.PackageNotFoundError:  # registered by hand, or not installed
            continue
        for text in unmet:
            yield Finding("warning", f"distribution {name}", f"{text}. Reinstall it with its dependencies")


def _entry_points(services: Services) -> Iterator[Finding]:
    """Find distributions with plugins that are installed twice: the first on the path hides the second."""
    del services
    seen: dict[str, str] = {}
    for distribution in metadata.distributions():
        if not any(entry.group == GROUP for entry in distribution.entry_points):
            continue
        name = canonicalize_name(distribution.name)
        installation = f"{distribution.version} in {distribution.locate_file('')}"
        if name in seen and seen[name] != installation:
            text = f"installed twice: {seen[name]} is used and hides {installation}. Uninstall one of the two"
            yield Finding("warning", f"distribution {distribution.name}", text)
        seen.setdefault(name, installation)


def _conflicts(services: Services) -> Iterator[Finding]:
    for conflict in find_conflicts(services):
        yield Finding("warning", "conflict", str(conflict))


def _configs(services: Services) -> Iterator[Finding]:
    """Check that the user's configs can be read and that a plugin claims each of them."""
    try:
        found = configs_on_path()
    except RegistryError as error:
        yield Finding("problem", "user configs", str(error), _trace(error))
        return
    for name, config in found.items():
        try:
            services.claim(config.raw, config.origin)
        except RegistryError as error:
            yield Finding("problem", f"config {name}", str(error))


def _cache(services: Services) -> Iterator[Finding]:
    del services
    folder = cache_folder()
    if not folder.exists():
        yield Finding("ok", "cache", f"{folder}, empty so far")
        return
    if not os.access(folder, os.W_OK):
        yield Finding("warning", "cache", f"{folder} is not writable: its files are used, but none are added")
    found = entries(folder)
    sizes = [record.size for record in (cached_record(entry.path) for entry in found) if record is not None]
    yield Finding("ok", "cache", f"{folder}, {len(sizes)} files, {sum(sizes):,} bytes")
    for entry in found:
        if cached_record(entry.path) is None:
            text = f"{entry.path} does not have its recorded size. It is not used; it is fetched again when needed"
            yield Finding("warning", "cache", text)
    for path in unfinished(folder):
        text = f"{path} is left over from an interrupted download; the next download resumes from it"
        yield Finding("ok", "cache", text)


CHECKS: tuple[Callable[[Services], Iterator[Finding]], ...] = (
    _environment,
    _torch,
    _requirements,
    _plugins,
    _entry_points,
    _conflicts,
    _configs,
    _cache,
)


def _unmet(distribution: str, extra: str) -> list[str]:
    """Return the unmet requirements of a distribution; with an extra, only those that the extra adds."""
    unmet = []
    for line in metadata.requires(distribution) or ():
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if not _applies(needed, extra):
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            unmet.append(f"{needed.name} is not installed")
            continue
        if not needed.specifier.contains(version, prereleases=True):
            unmet.append(f"{needed.name} {version} is installed, but {needed.specifier} is required")
    return unmet


def _applies(needed: Requirement, extra: str) -> bool:
    """Whether a requirement applies on this platform. With an extra: whether it applies only because of that extra."""
    plain = needed.marker is None or needed.marker.evaluate({"extra": ""})
    if not extra:
        return plain
    return needed.marker is not None and needed.marker.evaluate({"extra": extra}) and not plain


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
