"""How texts are cleaned before they are tokenised: repaired by ftfy, freed of HTML entities, in the case that is meant.

ftfy repairs what wrong decoding did to a text, in some twenty steps, and repeats them until they change nothing. Most
texts need few of them, and to find that out by taking all steps costs more than tokenising. So there are two
shortcuts, each equal to `ftfy.fix_text`: printable ASCII without entities is never changed; and of other texts cheap
searches tell which steps would apply, and only these are taken, by ftfy's own functions and in its order.
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

from registry_core.tokenizers.base import missing_library

Mode = Literal["lower", "whitespace", "canonicalize"]

_MAY_BE_ENTITY = re.compile("&[^ &;<]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# The release whose order of steps and whose heuristic (by its hash) the shortcut is known to fit. Another one is asked
# about each text.
_KNOWN_RELEASE = "6.3.1"
_KNOWN_BADNESS = "9dcc0f2ac90d9ae3c85eb7b9b2c0b8a8e8126153847c2b30c91a0bb263f3b8c4"
_SUSPICIOUS = (
    "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric", "upper_accented", "lower_accented",
    "box",
)  # fmt: skip
_SUSPICIOUS_LETTERS = "\N{CYRILLIC CAPITAL LETTER DJE}\N{DEGREE SIGN}"  # of sequences that name single characters
_SUSPICIOUS_ALONE = "\x80-\x9f\N{LATIN CAPITAL LIGATURE OE}\N{LATIN SMALL LIGATURE OE}ÃÂ"
_LONGEST_BADNESS = 6  # characters that the heuristic's longest sequence has

_LONGEST = 100_000  # characters; ftfy takes longer texts in parts


def lower(text: str) -> str:
    """Repaired, lower case; CLIP's own."""
    return repaired(text).lower()


def canonicalize(text: str) -> str:
    """Repaired, lower case, without punctuation; SigLIP's (https://github.com/google-research/big_vision)."""
    return repaired(text).replace("_", " ").translate(_PUNCTUATION).lower()


def repaired(text: str) -> str:
    """The text as ftfy repairs it, without HTML entities; white space is as it was."""
    if text.isascii() and text.isprintable() and ("&" not in text or not _MAY_BE_ENTITY.search(text)):
        return text
    in_short, in_full = _repairs()
    result = in_short(text) if len(text) <= _LONGEST else in_full(text)
    return html.unescape(html.unescape(result)) if "&" in result else result


# White space stays as it is: how much of it there is means nothing to any tokenizer here.
CLEANERS: dict[Mode, Callable[[str], str]] = {"lower": lower, "whitespace": repaired, "canonicalize": canonicalize}


def check_libraries(extra: str = "text") -> None:
    """Find out whether texts can be cleaned before the first one comes.

    Args:
        extra: what brings the libraries, for the message.

    Raises:
        BuildError: ftfy is not installed.
    """
    try:
        _repairs()
    except ImportError as error:
        raise missing_library(error, "Cleaning texts needs ftfy", extra) from error


@dataclass(frozen=True, slots=True)
class _Steps:
    """ftfy's steps, and the searches that tell which of them would change a text.

    Attributes:
        without_entities: its own idea of HTML entities, where a text has no tags.
        is_bad: whether a text may be the result of wrong decoding.
        decoded: undoes one wrong decoding.
        touched: finds characters that some of `fixes` deals with.
        fixes: the steps after decoding.
        mendable: finds characters that are replaced one by one, whatever is around them; none is `touched`.
        replacements: for these.
    """

    without_entities: Callable[[str], str]
    is_bad: Callable[[str], object]
    decoded: Callable[[str], str]
    touched: re.Pattern[str]
    fixes: Sequence[Callable[[str], str]]
    mendable: re.Pattern[str]
    replacements: dict[int, str]

    def __call__(self, text: str) -> str:
        """What `ftfy.fix_text` gives."""
        if "\n" not in text:
            return self._line(text, entities="<" not in text)
        lines, entities = [], True
        for line in re.findall("[^\n]*\n|[^\n]+", text):
            entities = entities and "<" not in line  # from the first tag on, entities are meant
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
                if self.touched.search(text):
                    for fix in self.fixes:
                        text = fix(text)
                elif self.mendable.search(text):
                    text = text.translate(self.replacements)
                text = unicodedata.normalize("NFC", text)
            # Where only decoding changed the text, a further round would find it as this one left it.
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
    """The short way for texts that are not too long, and the full one."""
    import ftfy
    from ftfy import badness, chardata, fixes

    known = hashlib.sha256(badness.BADNESS_RE.pattern.encode()).hexdigest() == _KNOWN_BADNESS
    if not known or ftfy.__version__ != _KNOWN_RELEASE:
        return ftfy.fix_text, ftfy.fix_text
    quotes = {ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"} | {ord(c): '"' for c in "\u201c\u201d\u201e\u201f"}
    replacements = {**quotes, **chardata.WIDTH_MAP}
    touched = {*chardata.CONTROL_CHARS, *chardata.LIGATURES, *range(0x80, 0xA0), *range(0xD800, 0xE000)}
    step, config = ftfy._fix_encoding_one_step_and_explain, ftfy.TextFixerConfig(explain=False)  # noqa: SLF001
    short = _Steps(
        without_entities=fixes.unescape_html,
        is_bad=_badness(badness.MOJIBAKE_CATEGORIES, badness.BADNESS_RE),
        # The public function asks its own slow heuristic about the result, and makes its settings anew each time.
        decoded=lambda text: step(text, config).text,
        touched=re.compile(_any_of(touched | {ord(c) for c in "\r\u2028\u2029"})),
        fixes=(
            fixes.fix_c1_controls, fixes.fix_latin_ligatures, fixes.fix_character_width, fixes.uncurl_quotes,
            fixes.fix_line_breaks, fixes.fix_surrogates, fixes.remove_terminal_escapes, fixes.remove_control_chars,
        ),
        mendable=re.compile(_any_of(set(replacements))),
        replacements=replacements,
    )  # fmt: skip
    return short, ftfy.fix_text


def _badness(categories: dict[str, str], exact: re.Pattern[str]) -> Callable[[str], object]:
    """The heuristic, after a quick look: what is bad has a suspicious character beside another beyond ASCII."""
    some = "".join(categories[name] for name in _SUSPICIOUS) + _SUSPICIOUS_LETTERS
    suspicious = re.compile(f"[{_SUSPICIOUS_ALONE}]|[{some}][^\x00-\x7f]|[^\x00-\x7f][{some}]").search

    def is_bad(text: str) -> object:
        first = suspicious(text)
        return first and exact.search(text, max(first.start() - _LONGEST_BADNESS, 0))

    return is_bad


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
