"""How texts are cleaned before they are tokenised: repaired by ftfy, freed of HTML entities, one space between words.

ftfy repairs what wrong decoding did to a text, in some twenty steps. Most texts need none of them, and to find that
out by taking all steps costs more than tokenising. So there are two shortcuts, each equal to the full way where it is
taken: printable ASCII without `&` is never changed, and of other texts cheap searches tell whether a step would apply.
"""

from __future__ import annotations

import hashlib
import html
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from registry_core.tokenizers.base import missing_library

Mode = Literal["lower", "whitespace", "canonicalize"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)

# The heuristic for which `_suspect` is known to be no less suspicious. With another one, ftfy is asked about each text.
_KNOWN_BADNESS = "9dcc0f2ac90d9ae3c85eb7b9b2c0b8a8e8126153847c2b30c91a0bb263f3b8c4"
_SUSPICIOUS = (
    "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric", "upper_accented", "lower_accented",
    "box",
)  # fmt: skip
_SUSPICIOUS_LETTERS = "\N{CYRILLIC CAPITAL LETTER DJE}\N{DEGREE SIGN}"  # of sequences that name single characters
_SUSPICIOUS_ALONE = "\x80-\x9f\N{LATIN CAPITAL LIGATURE OE}\N{LATIN SMALL LIGATURE OE}ÃÂ"

_LONGEST = 100_000  # characters; ftfy takes longer texts in parts


def lower(text: str) -> list[str]:
    """Repaired, lower case; CLIP's own."""
    return repaired(text).lower().split()


def whitespace(text: str) -> list[str]:
    """Repaired, in its own case."""
    return repaired(text).split()


def canonicalize(text: str) -> list[str]:
    """Repaired, lower case, without punctuation; SigLIP's (https://github.com/google-research/big_vision)."""
    return repaired(text).replace("_", " ").translate(_PUNCTUATION).lower().split()


# Each gives the pieces of a text between white space.
CLEANERS: dict[Mode, Callable[[str], list[str]]] = {
    "lower": lower,
    "whitespace": whitespace,
    "canonicalize": canonicalize,
}


def repaired(text: str) -> str:
    """The text as ftfy repairs it, without HTML entities; white space is as it was."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    repair = _repair()
    result = None if len(text) > _LONGEST else repair.in_short(text)
    if result is None:
        result = repair.in_full(text)
    return html.unescape(html.unescape(result)) if "&" in result else result


def check_libraries(extra: str = "text") -> None:
    """Find out whether texts can be cleaned before the first one comes.

    Args:
        extra: what brings the libraries, for the message.

    Raises:
        BuildError: ftfy is not installed.
    """
    try:
        _repair()
    except ImportError as error:
        raise missing_library(error, "Cleaning texts needs ftfy", extra) from error


@dataclass(frozen=True, slots=True)
class _Repair:
    """ftfy, and the searches that tell which of its steps would change a text.

    Attributes:
        in_full: ftfy itself.
        without_entities: its own idea of HTML entities, where a text has no tags.
        untouchable: finds characters that only the full way deals with.
        mendable: finds characters that are replaced one by one.
        replacements: for these.
        is_bad: whether a text may be the result of wrong decoding; rather too often yes.
    """

    in_full: Callable[[str], str]
    without_entities: Callable[[str], str]
    untouchable: re.Pattern[str]
    mendable: re.Pattern[str]
    replacements: dict[int, str]
    is_bad: Callable[[str], Any]

    def in_short(self, text: str) -> str | None:
        """What the full way gives, or None where only the full way can tell.

        Like ftfy it repeats its steps until they change nothing; those that cannot apply are left out.
        """
        tags = "<" in text
        while True:
            before = text
            if "&" in text and not tags:
                text = self.without_entities(text)
            if not text.isascii() or not text.isprintable():
                if self.untouchable.search(text) or self.is_bad(text):
                    return None
                if self.mendable.search(text):
                    text = text.translate(self.replacements)
                text = unicodedata.normalize("NFC", text)
            if text == before:
                return text


@lru_cache
def _repair() -> _Repair:
    import ftfy
    from ftfy import badness, chardata, fixes

    quotes = {ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"} | {ord(c): '"' for c in "\u201c\u201d\u201e\u201f"}
    replacements = {**quotes, **chardata.WIDTH_MAP}
    special = {*chardata.CONTROL_CHARS, *chardata.LIGATURES, *range(0x80, 0xA0), *range(0xD800, 0xE000)}
    special |= {ord(c) for c in "\n\r\u2028\u2029"}  # ftfy takes a text line by line
    exact: Callable[[str], Any] = badness.is_bad
    known = hashlib.sha256(badness.BADNESS_RE.pattern.encode()).hexdigest() == _KNOWN_BADNESS
    return _Repair(
        in_full=ftfy.fix_text,
        without_entities=fixes.unescape_html,
        untouchable=re.compile(_any_of(special)),
        mendable=re.compile(_any_of(set(replacements))),
        replacements=replacements,
        is_bad=_suspicion(badness.MOJIBAKE_CATEGORIES, exact) if known else exact,
    )


def _suspicion(categories: dict[str, str], exact: Callable[[str], Any]) -> Callable[[str], Any]:
    """A quick look before the exact one: what is bad has a suspicious character beside another beyond ASCII."""
    some = "".join(categories[name] for name in _SUSPICIOUS) + _SUSPICIOUS_LETTERS
    search = re.compile(f"[{_SUSPICIOUS_ALONE}]|[{some}][^\x00-\x7f]|[^\x00-\x7f][{some}]").search
    return lambda text: search(text) and exact(text)


def _any_of(code_points: set[int]) -> str:
    """A character class, as ranges: of single characters it would be slow."""
    ordered = sorted(code_points)
    ranges: list[list[int]] = []
    for code in ordered:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"
