"""The short ways of cleaning against ftfy itself."""

from __future__ import annotations

import html
import itertools
import string
import sys

import pytest
from ftfy import badness, fix_text
from hypothesis import given
from hypothesis import strategies as st

from registry_core.tokenizers import cleaning
from registry_core.tokenizers.cleaning import CLEANERS, repaired

NAMED = sorted(set("".join(badness.MOJIBAKE_CATEGORIES.values())) | set("вЂГўВЂРС°×√≈‚Äāβ€®™´") - {"-"})


def in_full(text):
    return html.unescape(html.unescape(fix_text(text)))


def test_the_short_way_equals_the_full_one_on_fuzzed_texts(fuzzed):
    texts = fuzzed(3000, seed=21)
    assert [text for text in texts if repaired(text).split() != in_full(text).split()] == []


def test_the_short_way_is_often_taken(fuzzed):
    texts = [text for text in fuzzed(1000, seed=22) if not text.isascii()]
    assert sum(cleaning._repair().in_short(text) is not None for text in texts) > len(texts) / 4


@given(st.text(string.printable, max_size=60))
def test_printable_ascii_is_cleaned_as_in_full(text):
    assert repaired(text).split() == in_full(text).split()


@given(st.text(st.sampled_from("&;#xamp<>ltgqu0123456789ot'\" eé")))
def test_entities_are_cleaned_as_in_full(text):
    assert repaired(text).split() == in_full(text).split()


@given(st.text(st.sampled_from([*NAMED, *"aZ .,?!\xa0éЂ"]), max_size=8))
def test_what_looks_like_wrong_decoding_is_cleaned_as_in_full(text):
    assert repaired(text).split() == in_full(text).split()


def test_the_quick_look_at_wrong_decoding_is_no_less_suspicious_than_ftfy():
    quick = cleaning._repair().is_bad
    assert quick is not badness.is_bad, "another ftfy than the one that the quick look is known to fit"
    letters = [*NAMED, *"aZ .?\n_1\xa0ÃÂœéЂ"]
    pairs = map("".join, itertools.product(letters, letters))
    around = (f"{before}{chr(code)}{after}" for code in range(0x80, 0x3000) for before in " a." for after in " a.")
    for text in itertools.chain(pairs, around):
        if badness.is_bad(text):
            assert quick(text), repr(text)


def test_an_unknown_ftfy_is_asked_about_each_text(monkeypatch):
    monkeypatch.setattr(cleaning, "_KNOWN_BADNESS", "of another release")
    cleaning._repair.cache_clear()
    try:
        assert cleaning._repair().is_bad is badness.is_bad
    finally:
        cleaning._repair.cache_clear()


def test_every_character_alone_is_cleaned_as_in_full():
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
    assert " ".join(CLEANERS[mode](text)) == expected
