"""The shortcuts of cleaning, compared with ftfy itself."""

from __future__ import annotations

import html
import itertools
import random
import string
import sys

import pytest
from ftfy import badness, chardata, fix_text
from hypothesis import given
from hypothesis import strategies as st

from registry_core.tokenizers import cleaning
from registry_core.tokenizers.cleaning import CLEANERS, repaired

NAMED = sorted(set("".join(badness.MOJIBAKE_CATEGORIES.values())) | set("вЂГўВЂРС°×√≈‚Äāβ€®™´") - {"-"})


# Characters that a step of ftfy handles, and characters that occur next to them in texts.
SPECIAL = [
    *"&<>;'\"?\x00\x08\x0b\x1a\x1b\x7f\x81\x85\x9d\r\n\t\xa0\xad\ufeff\ufffc\ufffd\u200b\u2028\u2029\u3000",
    *"\u02bc\u2018\u2019\u201a\u201c\u201d\u201eﬁﬂŉǆ\ufb05\uff21\uff06\uff1c\uff71\uff9e\uffe9ÃÂœŒ°±€",
    "\ud83d\ude00", "\ud83d", "\udc00", "\x1b[31m", "\x1b[", "e\u0301", "\u1100\u1161", "&amp;", "&lt;b&gt;",
    "&eacute;", "&EACUTE;", "&#x92;", "&#195;&#169;", "&Atilde;&copy;", "&amp;Atilde;&amp;copy;", "&rsquo;", "&#8364;",
    "Ã ", "Â ", "â€™", "Ã©", "вЂ", "a\n", "\r\n",
]  # fmt: skip
GOOD = [
    "é", "à la ", "ü", "ñ", "Š", "’", "“", "…", "–", "привет", "кот ", "日本", "🐱", "שלום", "γάτα", "ąčę", " ", "cat.",
]  # fmt: skip
READ_AS = [*chardata.CHARMAP_ENCODINGS, "sloppy-cp874", "cp1256", "cp1258", "utf-16-le", "shift_jis"]
WRITTEN_AS = ["utf-8", "utf-8", "utf-8", *READ_AS]


PAIRS = st.lists(st.tuples(st.sampled_from(WRITTEN_AS), st.sampled_from(READ_AS)), max_size=3)


def decoded_wrongly(text, *pairs):
    for written, read in pairs:
        text = text.encode(written, "surrogatepass" if written == "utf-8" else "replace").decode(read, "replace")
    return text


def wrongly_decoded(r):
    """Return parts of texts, written and read in different encodings, among characters that a step handles."""
    parts = []
    for _ in range(r.randint(1, 4)):
        part = "".join(r.choice(GOOD if r.random() < 0.8 else SPECIAL) for _ in range(r.randint(1, 6)))
        pairs = [(r.choice(WRITTEN_AS), r.choice(READ_AS)) for _ in range(r.choice([0, 1, 1, 1, 2, 3]))]
        parts.append(decoded_wrongly(part, *pairs))
        parts += r.choices(SPECIAL, k=r.choice([0, 0, 1, 2]))
    return "".join(parts)


def in_full(text):
    return html.unescape(html.unescape(fix_text(text)))


def short(text):
    return cleaning._repairs()[0](text)


def test_the_installed_ftfy_is_the_release_of_the_shortcut():
    assert isinstance(cleaning._repairs()[0], cleaning._Steps)


def test_the_shortcut_equals_the_full_way_on_fuzzed_texts(fuzzed):
    texts = fuzzed(3000, seed=21)
    assert [text for text in texts if repaired(text).split() != in_full(text).split()] == []


@pytest.mark.large
def test_the_shortcut_equals_the_full_way_on_100_000_texts_with_wrongly_decoded_parts():
    r = random.Random(23)
    texts = [wrongly_decoded(r) for _ in range(100_000)]
    assert [text for text in texts if short(text) != fix_text(text)] == []


@given(st.text(string.printable, max_size=60))
def test_printable_ascii_is_cleaned_as_by_ftfy(text):
    assert repaired(text).split() == in_full(text).split()


def test_an_ampersand_before_any_two_characters_is_cleaned_as_by_ftfy():
    printable = [chr(code) for code in range(0x20, 0x7F)]
    texts = [f"A{end}&{first}{second}" for first in printable for second in ("", *printable) for end in ("", "&")]
    assert [text for text in texts if repaired(text) != in_full(text)] == []


@given(st.text(st.sampled_from("&;#xamp<>ltgqu0123456789ot'\" eé")))
def test_entities_are_cleaned_as_by_ftfy(text):
    assert repaired(text).split() == in_full(text).split()


@given(st.text(st.sampled_from([*NAMED, *"aZ .,?!\xa0éЂ"]), max_size=8))
def test_apparent_wrong_decoding_is_cleaned_as_by_ftfy(text):
    assert repaired(text).split() == in_full(text).split()


@pytest.mark.parametrize("written", sorted(set(WRITTEN_AS)))
def test_every_wrong_pair_of_encodings_is_repaired_as_by_ftfy(written):
    r = random.Random(written)
    for read, times in itertools.product(READ_AS, (1, 2)):
        for _ in range(20):
            text = "".join(r.choices(GOOD, k=5) + r.choices(SPECIAL, k=r.randint(0, 2)))
            broken = "It’s " * r.randint(0, 1) + decoded_wrongly(text, *[(written, read)] * times)
            assert short(broken) == fix_text(broken), repr(broken)


@given(st.lists(st.tuples(st.lists(st.sampled_from(GOOD + SPECIAL) | st.characters(), max_size=6), PAIRS), max_size=4))
def test_texts_with_wrongly_decoded_parts_are_repaired_as_by_ftfy(parts):
    text = "".join(decoded_wrongly("".join(part), *pairs) for part, pairs in parts)
    assert short(text) == fix_text(text)


@given(
    st.lists(st.sampled_from([*"<&\n\r\t\u2028 a", "&amp;", "&lt;", "&amp;lt;", "é", "Ã©", "’", "\x1b[0m"])).map(
        "".join
    )
)
def test_lines_are_repaired_as_by_ftfy(text):
    assert short(text) == fix_text(text)


def test_the_fast_search_finds_the_same_wrong_decoding_as_ftfy():
    quick = cleaning._repairs()[0].is_bad
    letters = [*NAMED, *"aZ .?\n_1\xa0ÃÂœéЂ"]
    pairs = map("".join, itertools.product(letters, letters))
    around = (f"{before}{chr(code)}{after}" for code in range(0x80, 0x3000) for before in " a." for after in " a.")
    sequences = ("ГўВЂВ™a", "ГўВЂВ™ ", "a Ã ", "a\tÂ ", "ØªÙ€", "Ø\xadÙ®", "ВЎР°Р", "Β¡Ξ")
    for text in itertools.chain(pairs, around, sequences):
        bad = badness.is_bad(text)
        assert bool(quick(text)) == bad, repr(text)
        assert bool(quick(f"a cat Sur la plage é {text}")) == badness.is_bad(f"a cat Sur la plage é {text}"), repr(text)


@given(st.text(st.sampled_from([*NAMED, *"aZ .,?!\xa0éЂÃÂ"]), max_size=30))
def test_the_fast_search_agrees_with_ftfy_in_longer_texts(text):
    assert bool(cleaning._repairs()[0].is_bad(text)) == badness.is_bad(text)


@pytest.mark.parametrize("name", ["_KNOWN_BADNESS", "_KNOWN_RELEASE"])
def test_each_text_is_passed_to_an_unknown_ftfy(monkeypatch, name):
    monkeypatch.setattr(cleaning, name, "of another release")
    cleaning._repairs.cache_clear()
    try:
        assert cleaning._repairs() == (fix_text, fix_text)
        assert repaired("cafÃ© &amp;lt; \uff21") == "café < A"
    finally:
        cleaning._repairs.cache_clear()


def test_every_character_alone_is_cleaned_as_by_ftfy():
    codes = [*range(0x3200), *range(0xD700, 0x10100), *range(0x1D100, 0x1D800), 0xE0001, sys.maxunicode]
    assert [hex(code) for code in codes if repaired(chr(code)).split() != in_full(chr(code)).split()] == []


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("lower", """it's a_café & "fine" , ok!"""),
        ("whitespace", """It's a_Café & "Fine" , OK!"""),
        ("canonicalize", "its a café fine ok"),
    ],
)
def test_modes(mode, expected):
    text = "  It\u2019s a_Cafe\u0301 &amp;amp; \u201c\uff26ine\u201d\t, OK!\n"
    assert " ".join(CLEANERS[mode](text).split()) == expected
