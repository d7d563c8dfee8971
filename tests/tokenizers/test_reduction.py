from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from registry_core import BuildError
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.reduction import most_important

TEXT = " ".join("abcdefghijklmnopqrstuvwxyz")


def reduced(mask, text=TEXT, length=12):
    tokenizer = ClipTokenizer(ClipOptions(reduction_mask=mask), length)
    row = tokenizer(text)[0].tolist()
    assert row[0] == tokenizer.sot_token_id
    assert row[row.index(tokenizer.eot_token_id) :][1:] == [0] * (length - 1 - row.index(tokenizer.eot_token_id))
    return row[1 : row.index(tokenizer.eot_token_id)]


ALL = ClipTokenizer().encode(TEXT)


@pytest.mark.parametrize("mask", ["simple", "random", "shuffle"])
def test_a_long_text_keeps_as_many_tokens_as_fit(mask):
    kept = reduced(mask)
    assert len(kept) == 10
    assert len(set(kept) & set(ALL)) == 10


@pytest.mark.parametrize("mask", ["simple", "random", "shuffle"])
def test_a_short_text_keeps_all(mask):
    assert reduced(mask, "a b c") == ALL[:3]


def test_simple_keeps_one_run():
    kept = reduced("simple")
    start = ALL.index(kept[0])
    assert kept == ALL[start : start + 10]


def test_random_keeps_the_order_and_shuffle_does_not():
    torch.manual_seed(1)
    kept = [ALL.index(id_) for id_ in reduced("random")]
    assert kept == sorted(kept)
    shuffled = [ALL.index(id_) for id_ in reduced("shuffle")]
    assert shuffled != sorted(shuffled)


def test_syntax_prefers_nouns_then_adjectives_then_verbs_and_keeps_the_order():
    words = ["the", "big", "dog", "chases", "a", "cat"]
    tags = ["DT", "JJ", "NN", "VBZ", "DT", "NNS"]
    assert most_important(words, tags, 2) == ["dog", "cat"]
    assert most_important(words, tags, 3) == ["big", "dog", "cat"]
    assert most_important(words, tags, 4) == ["big", "dog", "chases", "cat"]
    assert most_important(words, tags, 5) == ["the", "big", "dog", "chases", "cat"]
    assert most_important(words, tags, 99) == words


@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_words_of_many_tokens_that_syntax_keeps_are_truncated(monkeypatch, length):
    tagger = SimpleNamespace(  # nltk's data is a download of its own
        tokenize=SimpleNamespace(word_tokenize=str.split), pos_tag=lambda words: [(word, "NN") for word in words]
    )
    monkeypatch.setitem(sys.modules, "nltk", tagger)
    tokenizer = ClipTokenizer(ClipOptions(reduction_mask="syntax"), length)
    texts = ["sneachaibran zoosnaquois spovouweam shissmird", "a"]
    rows = tokenizer(texts)
    assert rows.shape == (2, length)
    expected = [tokenizer.sot_token_id, *tokenizer.encode(texts[0])][: length - 1]
    assert rows[0].tolist() == [*expected, tokenizer.eot_token_id]


def test_syntax_without_nltk_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(
        BuildError, match=r"syntax' needs nltk .*pip install nltk && python -m nltk.downloader punkt_tab"
    ) as caught:
        ClipTokenizer(ClipOptions(reduction_mask="syntax"))("a cat")
    assert (caught.value.name, caught.value.argument) == ("nltk", "reduction_mask")
