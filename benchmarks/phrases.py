"""Generated captions of many kinds. The same random numbers give the same captions.

The words of each language are stems with endings, so that most captions contain new words. No text is copied from a
source.
"""

from __future__ import annotations

import html.entities
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random

import ftfy.bad_codecs  # the encodings that ftfy knows for wrongly decoded texts

ftfy.bad_codecs.ok()

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
COMMON, EMOJI = WORDS["common"].split(), WORDS["emoji"].split()
MARKED = ["{},", "{}'s", "{}-{}", "({})", "{}/{}", '"{}"', "{}: {}", "{} & {}", "{}_{}.jpg"]
FIGURES = ["{}x{}", "${}", "{}%", "{1}", "{}.{}", "#{}", "{1}-{0}", "{}mm"]
SYLLABLES = {part: letters.split() for part, letters in WORDS["syllables"].items()}
ENTITIES = [f"&{name}" for name in sorted(html.entities.html5) if name.endswith(";")]
CONTROLS = ["\x00", "\x07", "\x1b[31m", "\x1b[0m", "\x7f", "\ufeff", "\t", "\n", "\r\n", "\u2028", "\x0b", "\u200b"]


def common(r: Random) -> str:
    """A sentence of common words."""
    return sentence(r, lambda: r.choice(COMMON))


def made_up(r: Random) -> str:
    """A sentence of words that do not exist."""
    return sentence(r, lambda: "".join(syllable(r) for _ in range(r.choice([1, 2, 2, 3, 3]))))


def syllable(r: Random) -> str:
    last = r.choice(SYLLABLES["last"]) if r.random() < 0.5 else ""  # noqa: PLR2004
    return r.choice(SYLLABLES["first"]) + r.choice(SYLLABLES["middle"]) + last


def letters(r: Random) -> str:
    """A sentence of random letters, which need the most merges."""
    return sentence(r, lambda: "".join(r.choices("abcdefghijklmnopqrstuvwxyz", k=r.randint(3, 12))))


def mixed(r: Random) -> str:
    """Mostly common words. One in five is made up, a name or a number."""
    return sentence(
        r,
        lambda: (
            r.choice(COMMON)
            if r.random() < 0.8  # noqa: PLR2004
            else r.choice([made_up(r).split()[0].title(), str(r.randrange(3000)), f"({r.choice(COMMON)})", "#1", "50%"])
        ),
    )


def marked(r: Random) -> str:
    """Common words with punctuation in them and around them."""
    return sentence(r, lambda: r.choice(MARKED).format(r.choice(COMMON), r.choice(COMMON)))


def figures(r: Random) -> str:
    """Common words. Every other one is a size, a price, a year or the like."""
    return sentence(
        r,
        lambda: r.choice(COMMON) if r.random() < 0.5 else r.choice(FIGURES).format(r.randrange(99), r.randrange(3000)),  # noqa: PLR2004
    )


def language(name: str) -> Callable[[Random], str]:
    """Return a function that makes sentences of a language's stems, endings and small words."""
    stems, endings, small = (WORDS["languages"][name][part].split() for part in ("stems", "endings", "small"))
    return lambda r: sentence(
        r,
        lambda: r.choice(small) if r.random() < 0.3 else r.choice(stems) + r.choice(endings),  # noqa: PLR2004
    )


def chinese(r: Random) -> str:
    """Clauses without spaces between words."""
    signs = WORDS["chinese"]
    characters = signs["characters"].replace("\n", "")
    clauses = ("".join(r.choices(characters, k=r.randint(4, 12))) for _ in range(r.randint(1, 3)))
    return signs["comma"].join(clauses) + signs["end"]


def emoji(r: Random) -> str:
    """A caption with emoji."""
    words = common(r).split()
    for _ in range(r.randint(1, 4)):
        words.insert(r.randint(0, len(words)), r.choice(EMOJI))
    return " ".join(words)


def entities(r: Random) -> str:
    """A caption with HTML entities, some of them escaped twice."""
    words = mixed(r).split()
    for _ in range(r.randint(1, 4)):
        entity = r.choice(
            ["&amp;", "&quot;", "&#39;", "&nbsp;", "&eacute;", r.choice(ENTITIES), f"&#{r.randrange(400)};"]
        )
        words.insert(r.randint(0, len(words)), entity.replace("&", "&amp;") if r.random() < 0.2 else entity)  # noqa: PLR2004
    return " ".join(words)


def controls(r: Random) -> str:
    """A caption with control characters."""
    words = mixed(r).split()
    for _ in range(r.randint(1, 3)):
        words.insert(r.randint(0, len(words)), r.choice(CONTROLS))
    return " ".join(words)


def quoted(r: Random) -> str:
    """A caption with typographic punctuation outside ASCII."""
    words = mixed(r).split()
    for _ in range(r.randint(1, 3)):
        index = r.randrange(len(words))
        words[index] = r.choice(["\u201c{}\u201d", "{}\u2019s", "\u2018{}\u2019", "{} \u2013", "{}\u2026"]).format(
            words[index]
        )
    return " ".join(words)


def wrongly(make: Callable[[Random], str], *encodings: str) -> Callable[[Random], str]:
    """Return a function that makes texts encoded as UTF-8 and decoded as each encoding in turn."""

    def broken(r: Random) -> str:
        text = make(r)
        for encoding in encodings:
            text = text.encode().decode(encoding)
        return text

    return broken


def sentence(r: Random, word: Callable[[], str]) -> str:
    """A sentence of six to sixteen words."""
    text = " ".join(word() for _ in range(r.randint(6, 16)))
    return text[0].upper() + text[1:] + r.choice(["", ".", "!"])


ASCII: dict[str, Callable[[Random], str]] = {
    "common words": common,
    "common words, some names and numbers": mixed,
    "marks in and around words": marked,
    "sizes, prices and years": figures,
    "words never seen": made_up,
    "random letters": letters,
}
OTHERS: dict[str, Callable[[Random], str]] = {
    **{name: language(name) for name in WORDS["languages"]},
    "Chinese": chinese,
    "typographic quotes": quoted,
    "emoji": emoji,
    "entities": entities,
    "controls": controls,
}
MOJIBAKE: dict[str, Callable[[Random], str]] = {
    "quotes as cp1252": wrongly(quoted, "sloppy-windows-1252"),
    "French as cp1252": wrongly(language("French"), "sloppy-windows-1252"),
    "French as Latin-1": wrongly(language("French"), "latin-1"),
    "French as Mac Roman": wrongly(language("French"), "macroman"),
    "French as cp437": wrongly(language("French"), "cp437"),
    "French as cp1252, twice": wrongly(language("French"), "sloppy-windows-1252", "sloppy-windows-1252"),
    "Russian as cp1252": wrongly(language("Russian"), "sloppy-windows-1252"),
    "Russian as cp1251": wrongly(language("Russian"), "sloppy-windows-1251"),
    "Chinese as cp1252": wrongly(chinese, "sloppy-windows-1252"),
    "Vietnamese as Latin-1": wrongly(language("Vietnamese"), "latin-1"),
    "emoji as cp1252": wrongly(emoji, "sloppy-windows-1252"),
}
