from __future__ import annotations

import random

import pytest
import torch

from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.huggingface import HFOptions, HFTokenizer

pytestmark = pytest.mark.parity
reference = pytest.importorskip("open_clip.tokenizer")


def differing(mine, theirs, texts):
    return [text for text in texts if not torch.equal(mine(text), theirs(text))]


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_ids_equal_open_clips_on_fuzzed_texts(fuzzed, clean):
    texts = fuzzed(2000, seed=len(clean))
    theirs = reference.SimpleTokenizer(clean=clean)
    assert differing(ClipTokenizer(ClipOptions(clean=clean)), theirs, texts) == []


@pytest.mark.large
def test_ids_equal_open_clips_on_100_000_fuzzed_texts(fuzzed):
    assert differing(ClipTokenizer(), reference.SimpleTokenizer(), fuzzed(100_000, seed=1)) == []


@pytest.mark.parametrize("length", [1, 2, 3, 8, 32, 76, 77, 200])
def test_rows_are_cut_and_padded_alike_at_every_length(fuzzed, length):
    texts = fuzzed(60, seed=2)
    theirs = reference.SimpleTokenizer(context_length=length)
    assert torch.equal(ClipTokenizer(context_length=length)(texts), theirs(texts))
    assert torch.equal(ClipTokenizer()(texts, context_length=length), theirs(texts))


def test_special_tokens_of_the_caller_get_the_same_ids():
    special = ["<mask>", "<degradation>"]
    mine = ClipTokenizer(ClipOptions(additional_special_tokens=special))
    theirs = reference.SimpleTokenizer(additional_special_tokens=special)
    texts = ["a <mask> of a <degradation>rainy<mask>street", "<MASK>", "plain"]
    assert differing(mine, theirs, texts) == []
    assert mine.all_special_ids == theirs.all_special_ids
    assert mine.vocab_size == theirs.vocab_size


@pytest.mark.parametrize("mask", ["simple", "random", "shuffle"])
@pytest.mark.parametrize("length", [2, 8, 77])
def test_a_seed_drops_the_same_tokens(fuzzed, mask, length):
    texts = fuzzed(100, seed=3)
    results = []
    for tokenizer in (
        ClipTokenizer(ClipOptions(reduction_mask=mask), length),
        reference.SimpleTokenizer(reduction_mask=mask, context_length=length),
    ):
        torch.manual_seed(0)
        random.seed(0)
        results.append(tokenizer(texts))
    assert torch.equal(*results)


def test_decoding_with_special_tokens_equals_open_clips(fuzzed):
    mine, theirs = ClipTokenizer(), reference.SimpleTokenizer()
    for text in fuzzed(200, seed=4):
        if "</w>" not in text:  # open_clip makes a space of that text
            row = mine(text)[0]
            assert mine.decode(row, skip_special_tokens=False) == theirs.decode(row.tolist())


@pytest.mark.parametrize(
    "options",
    [{}, {"clean": "canonicalize"}, {"clean": "lower", "strip_sep_token": True}],
    ids=["default", "canonicalize", "no separator"],
)
def test_hugging_face_ids_equal_open_clips(word_pieces, sentence_pieces, fuzzed, options):
    texts = fuzzed(150, seed=5)
    for folder in (word_pieces,) if "strip_sep_token" in options else (word_pieces, sentence_pieces):
        mine = HFTokenizer(folder, HFOptions(**options), 24)
        theirs = reference.HFTokenizer(folder, context_length=24, **options)
        assert torch.equal(mine(texts), theirs(texts))


@pytest.mark.parametrize("length", [4, 8, 32])
def test_the_clips_mode_equals_open_clips(word_pieces, fuzzed, length):
    texts = fuzzed(100, seed=6)
    mine = HFTokenizer(word_pieces, context_length=length, mode="clips")
    theirs = reference.HFTokenizer(word_pieces, context_length=length, tokenizer_mode="clips")
    assert torch.equal(mine(texts), theirs(texts))


@pytest.mark.parametrize("special", [None, ["cat."], ["16"], ["<mask>"], ["dog", "!"]])
def test_numbers_and_the_ends_of_sentences(special):
    theirs = reference.SimpleTokenizer(additional_special_tokens=special)
    ours = ClipTokenizer(ClipOptions(additional_special_tokens=special))
    texts = [
        "a cat.",
        "A dog!",
        "1688 cats, 16 dogs.",
        "it's 2's cat..",
        "<mask>. cat.!",
        "x' 1a a1 1! 's. don't",
        "22.5% _a a_",
    ]
    assert torch.equal(ours(texts), theirs(texts))
