"""The selection of installed plugins: by name, by pattern, or all except some.

daclip,openai_clip      only these
-daclip                 all except this one
hub*,-hub_beta          shell patterns; an exclusion wins over an inclusion
acme-clip:clip          the plugin `clip` of the distribution `acme-clip`
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry_core.errors import PluginError, close_names, did_you_mean

ENVIRONMENT = "REGISTRY_CORE_PLUGINS"

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point: its name and the name of its distribution."""

    name: str
    distribution: str


@dataclass(frozen=True, slots=True)
class Selection:
    """An allow list and a deny list.

    Attributes:
        wanted: Names and patterns to use; empty means everything.
        unwanted: Names and patterns to leave out; they win over `wanted`.
        source: Where the selection was made, for messages.
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    source: str = ""

    @classmethod
    def parse(cls, patterns: Iterable[str], source: str) -> Selection:
        """Parse names and patterns; a leading minus marks an exclusion."""
        given = [pattern.strip() for pattern in patterns if pattern.strip()]
        unwanted = tuple(pattern[1:].strip() for pattern in given if pattern.startswith("-"))
        return cls(tuple(pattern for pattern in given if not pattern.startswith("-")), unwanted, source)

    @classmethod
    def of_environment(cls) -> Selection:
        """Parse REGISTRY_CORE_PLUGINS; unset or empty, everything is selected."""
        return cls.parse(os.environ.get(ENVIRONMENT, "").split(","), ENVIRONMENT)

    def refuses(self, candidate: Candidate) -> bool:
        """Whether the selection leaves out an entry point."""
        if any(_matches(pattern, candidate) for pattern in self.unwanted):
            return True
        return bool(self.wanted) and not any(_matches(pattern, candidate) for pattern in self.wanted)

    def absent(self, candidates: Iterable[Candidate]) -> dict[str, PluginError]:
        """Return the names that match no entry point, each with its error. A pattern may match nothing."""
        known = list(candidates)
        return {
            pattern: self._not_installed(pattern, {candidate.name for candidate in known})
            for pattern in (*self.wanted, *self.unwanted)
            if not _WILD.intersection(pattern) and not any(_matches(pattern, candidate) for candidate in known)
        }

    def _not_installed(self, pattern: str, known: set[str]) -> PluginError:
        return PluginError(
            f"{self.source} names the plugin {pattern!r}, but no installed distribution provides it."
            f"{did_you_mean(pattern, known)} Nothing was loaded for it.",
            plugin=pattern,
            suggestions=close_names(pattern, known),
            advice="Install the distribution that provides it, or correct the name; `registry-core plugins` lists the "
            "installed ones.",
        )


def _matches(pattern: str, candidate: Candidate) -> bool:
    distribution, separator, name = pattern.rpartition(":")
    if separator and not fnmatchcase(_canonical(candidate.distribution), _canonical(distribution)):
        return False
    return fnmatchcase(candidate.name, name)


def _canonical(distribution: str) -> str:
    """Normalise a distribution name: separators and case do not matter."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
