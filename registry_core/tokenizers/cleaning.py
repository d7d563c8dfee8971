"""Cleaning of texts before they are tokenised: ftfy repairs them, HTML entities are decoded, the case may be changed.

ftfy repairs texts that were decoded wrongly. It applies about twenty steps, and repeats them until nothing changes.
Most texts need few of these steps, and applying all of them takes longer than tokenising. There are therefore two
shortcuts, which give the same result as `ftfy.fix_text`:

- Printable ASCII without entities is returned unchanged.
- For other texts, fast searches find out which steps would change the text. Only these steps are applied, with ftfy's
  own functions and in ftfy's order.
"""

from __future__ import annotations

import hashlib
import html
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from registry_core.errors import missing_library

Mode = Literal["lower", "whitespace", "canonicalize"]

_MAY_BE_ENTITY = re.compile("&[^ &;<]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# The shortcut reproduces the steps and the heuristic (checked by its hash) of this release of ftfy. With any other
# release, each text is passed to ftfy.
_KNOWN_RELEASE = "6.3.1"
_KNOWN_BADNESS = "9dcc0f2ac90d9ae3c85eb7b9b2c0b8a8e8126153847c2b30c91a0bb263f3b8c4"
_SUSPICIOUS = (
    "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric", "upper_accented", "lower_accented",
    "box",
)  # fmt: skip
_SUSPICIOUS_LETTERS = "\N{CYRILLIC CAPITAL LETTER DJE}\N{DEGREE SIGN}"  # in ftfy's sequences of single characters
_SUSPICIOUS_ALONE = "\x80-\x9f\N{LATIN CAPITAL LIGATURE OE}\N{LATIN SMALL LIGATURE OE}ÃÂ"
_LONGEST_BADNESS = 6  # characters of the heuristic's longest sequence

_LONGEST = 100_000  # characters; ftfy splits longer texts


def lower(text: str) -> str:
    """Repair a text and convert it to lower case, as CLIP does."""
    return repaired(text).lower()


def canonicalize(text: str) -> str:
    """Repair a text, convert it to lower case and remove punctuation, as SigLIP does.

    Source: https://github.com/google-research/big_vision.
    """
    return repaired(text).replace("_", " ").translate(_PUNCTUATION).lower()


def repaired(text: str) -> str:
    """Repair a text with ftfy and decode its HTML entities. White space is not changed."""
    if text.isascii() and text.isprintable() and ("&" not in text or not _MAY_BE_ENTITY.search(text)):
        return text
    shortcut, full = _repairs()
    result = shortcut(text) if len(text) <= _LONGEST else full(text)
    return html.unescape(html.unescape(result)) if "&" in result else result


# Cleaners leave white space as it is, since no tokenizer here depends on its amount.
CLEANERS: dict[Mode, Callable[[str], str]] = {"lower": lower, "whitespace": repaired, "canonicalize": canonicalize}


def check_libraries(extra: str = "text") -> None:
    """Check that texts can be cleaned. Called when a tokenizer is made, before the first text.

    Args:
        extra: The extra of registry_core that installs the libraries, for the message.

    Raises:
        BuildError: ftfy is not installed.
    """
    try:
        _repairs()
    except ImportError as error:
        raise missing_library(error, "Cleaning texts needs ftfy", extra, "No tokenizer was made.") from error


@dataclass(frozen=True, slots=True)
class _Steps:
    """ftfy's steps, and the searches that find out which of them would change a text.

    Attributes:
        without_entities: Decodes HTML entities by ftfy's rules, for a text without tags.
        is_bad: Whether a text may be the result of wrong decoding.
        decoded: Undoes one wrong decoding.
        needs_fixes: Finds characters that one of `fixes` handles.
        fixes: The steps after decoding.
        replaceable: Finds characters that are replaced one by one, independent of their context. `needs_fixes` finds
            none of them.
        replacements: Character -> its replacement, for `replaceable`.
    """

    without_entities: Callable[[str], str]
    is_bad: Callable[[str], object]
    decoded: Callable[[str], str]
    needs_fixes: re.Pattern[str]
    fixes: Sequence[Callable[[str], str]]
    replaceable: re.Pattern[str]
    replacements: dict[int, str]

    def __call__(self, text: str) -> str:
        """Return what `ftfy.fix_text` returns."""
        if "\n" not in text:
            return self._line(text, entities="<" not in text)
        lines, entities = [], True
        for line in re.findall("[^\n]*\n|[^\n]+", text):
            entities = entities and "<" not in line  # ftfy decodes no entities from the first tag on
            lines.append(self._line(line, entities=entities))
        return "".join(lines)

    def _line(self, text: str, *, entities: bool) -> str:
        while True:
            before = text
            if entities and "&" in text:
                text = self.without_entities(text)
            decoded = text
            if not text.isascii() or not text.isprintable():
                text = decoded = self._decoded(text)
                if self.needs_fixes.search(text):
                    for fix in self.fixes:
                        text = fix(text)
                elif self.replaceable.search(text):
                    text = text.translate(self.replacements)
                text = unicodedata.normalize("NFC", text)
            # If only decoding changed the text, a further round would not change it.
            if text == before or (text == decoded and not (entities and "&" in text)):
                return text

    def _decoded(self, text: str) -> str:
        while not text.isascii() and self.is_bad(text):
            before, text = text, self.decoded(text)
            if text == before:
                break
        return text


@lru_cache
def _repairs() -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return the shortcut, for texts that are not too long, and `ftfy.fix_text`."""
    import ftfy
    from ftfy import badness, chardata, fixes

    known = hashlib.sha256(badness.BADNESS_RE.pattern.encode()).hexdigest() == _KNOWN_BADNESS
    if not known or ftfy.__version__ != _KNOWN_RELEASE:
        return ftfy.fix_text, ftfy.fix_text
    quotes = {ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"} | {ord(c): '"' for c in "\u201c\u201d\u201e\u201f"}
    replacements = {**quotes, **chardata.WIDTH_MAP}
    needs_fixes = {*chardata.CONTROL_CHARS, *chardata.LIGATURES, *range(0x80, 0xA0), *range(0xD800, 0xE000)}
    step, config = ftfy._fix_encoding_one_step_and_explain, ftfy.TextFixerConfig(explain=False)  # noqa: SLF001
    short = _Steps(
        without_entities=fixes.unescape_html,
        is_bad=_fast_badness(badness.MOJIBAKE_CATEGORIES, badness.BADNESS_RE),
        # ftfy's public function applies its slow heuristic to the result, and makes its settings again for each text.
        decoded=lambda text: step(text, config).text,
        needs_fixes=re.compile(_character_class(needs_fixes | {ord(c) for c in "\r\u2028\u2029"})),
        fixes=(
            fixes.fix_c1_controls, fixes.fix_latin_ligatures, fixes.fix_character_width, fixes.uncurl_quotes,
            fixes.fix_line_breaks, fixes.fix_surrogates, fixes.remove_terminal_escapes, fixes.remove_control_chars,
        ),
        replaceable=re.compile(_character_class(set(replacements))),
        replacements=replacements,
    )  # fmt: skip
    return short, ftfy.fix_text


def _fast_badness(categories: dict[str, str], exact: re.Pattern[str]) -> Callable[[str], object]:
    """Return ftfy's heuristic, with a fast search before it.

    The heuristic matches only texts that contain a suspicious character next to another character beyond ASCII, or a
    character that is suspicious alone.
    """
    some = "".join(categories[name] for name in _SUSPICIOUS) + _SUSPICIOUS_LETTERS
    suspicious = re.compile(f"[{_SUSPICIOUS_ALONE}]|[{some}][^\x00-\x7f]|[^\x00-\x7f][{some}]").search

    def is_bad(text: str) -> object:
        first = suspicious(text)
        return first and exact.search(text, max(first.start() - _LONGEST_BADNESS, 0))

    return is_bad


def _character_class(code_points: set[int]) -> str:
    """Return the character class of a pattern. It consists of ranges, since single characters would be slow."""
    ordered = sorted(code_points)
    ranges: list[list[int]] = []
    for code in ordered:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"
