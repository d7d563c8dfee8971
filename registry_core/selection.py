"""Which of the installed plugins to use: by name, by pattern, or all but some.

daclip,openai_clip      these and no others
-daclip                 all but this one
hub*,-hub_beta          shell patterns; a word with a minus goes before one without
acme-clip:clip          of two distributions that use one name, this one's
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry_core.errors import did_you_mean

ENVIRONMENT = "REGISTRY_CORE_PLUGINS"

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point, as far as its metadata say: its name and its distribution's."""

    name: str
    distribution: str


@dataclass(frozen=True, slots=True)
class Selection:
    """An allow list and a deny list.

    Attributes:
        wanted: words for what to use; empty means everything.
        unwanted: words for what to leave out; they go before `wanted`.
        source: who says so, for messages.
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    source: str = ""

    @classmethod
    def parse(cls, words: Iterable[str], source: str) -> Selection:
        """The selection that some words make; a leading minus marks those to leave out."""
        given = [word.strip() for word in words if word.strip()]
        unwanted = tuple(word[1:].strip() for word in given if word.startswith("-"))
        return cls(tuple(word for word in given if not word.startswith("-")), unwanted, source)

    @classmethod
    def of_environment(cls) -> Selection:
        """What REGISTRY_CORE_PLUGINS says; unset or empty, it says nothing."""
        return cls.parse(os.environ.get(ENVIRONMENT, "").split(","), ENVIRONMENT)

    def refuses(self, candidate: Candidate) -> bool:
        """Whether an entry point is not to be loaded."""
        if any(_matches(word, candidate) for word in self.unwanted):
            return True
        return bool(self.wanted) and not any(_matches(word, candidate) for word in self.wanted)

    def absent(self, candidates: Iterable[Candidate]) -> dict[str, str]:
        """The names that stand for no entry point, each with a message; patterns may stand for none."""
        known = list(candidates)
        return {
            word: f"{self.source} names the plugin {word!r}, and no installed distribution brings one of that name."
            f"{did_you_mean(word, {c.name for c in known})} Nothing was loaded for it. Install the distribution that "
            f"brings it, or correct the name; `registry-core plugins` lists those that are installed."
            for word in (*self.wanted, *self.unwanted)
            if not _WILD.intersection(word) and not any(_matches(word, candidate) for candidate in known)
        }


def _matches(word: str, candidate: Candidate) -> bool:
    distribution, separator, name = word.rpartition(":")
    if separator and not fnmatchcase(_canonical(candidate.distribution), _canonical(distribution)):
        return False
    return fnmatchcase(candidate.name, name)


def _canonical(distribution: str) -> str:
    """Distribution names are one in any spelling of their separators and case."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
