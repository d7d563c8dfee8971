from __future__ import annotations

import gzip
import itertools
import threading
import time
from importlib.resources import files

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from registry_core import ConfigError
from registry_core.tokenizers import clip_vocabulary
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer
from registry_core.tokenizers.clip_vocabulary import Vocabulary


@pytest.fixture(scope="module")
def published():
    """Byte-pair encoding by its definition: symbols -> symbols, by the merges in the file."""
    data = files("registry_core").joinpath("tokenizers", "data", "clip_bpe_merges.txt.gz").read_bytes()
    rank = {tuple(line.split(" ")): number for number, line in enumerate(gzip.decompress(data).decode().splitlines())}

    def merge(word):
        while len(word) > 1:
            best = min(itertools.pairwise(word), key=lambda pair: rank.get(pair, len(rank)))
            if best not in rank:
                break
            merged = []
            for symbol in word:
                if merged and (merged[-1], symbol) == best:
                    merged[-1] += symbol
                else:
                    merged.append(symbol)
            word = merged
        return word

    return merge


def _letters(symbol):
    """Return the symbols before merging: single characters, the last one with the end of the word if it has one."""
    word = symbol.removesuffix("</w>")
    return [*word[:-1], word[-1] + symbol[len(word) :]]


class TestMerging:
    def test_each_tokens_own_text_is_merged_to_that_token(self, published):
        # It follows that merging by the rank of the joined text is the same as merging by the rank of the pair.
        *_, symbols = clip_vocabulary._published()
        assert [symbol for symbol in symbols if published(_letters(symbol)) != [symbol]] == []

    def test_a_word_that_is_a_token_is_merged_to_that_token(self):
        _, merge, symbols = clip_vocabulary._published()
        words = {symbol: id_ for id_, symbol in enumerate(symbols[512:], 512) if symbol.endswith("</w>")}
        texts = {clip_vocabulary._bytes_of(symbol).decode(errors="replace"): id_ for symbol, id_ in words.items()}
        whole = {text: id_ for text, id_ in texts.items() if "\ufffd" not in text}
        assert len(whole) > 34_000
        assert [text for text, id_ in whole.items() if merge(text) != [id_]] == []

    @given(st.text(min_size=1, max_size=40).filter(lambda word: " " not in word))
    @example("a" * 1000)
    @example("the" * 200)
    def test_any_word_is_merged_as_published(self, published, word):
        _, merge, symbols = clip_vocabulary._published()
        spelt = "".join([clip_vocabulary._BYTE_SYMBOLS[byte] for byte in word.encode()])
        assert [symbols[id_] for id_ in merge(word + " ")] == published(_letters(spelt + "</w>"))

    @given(st.text("aeinorst", min_size=1, max_size=30))
    def test_any_word_of_common_letters_is_merged_as_published(self, published, word):
        _, merge, symbols = clip_vocabulary._published()
        assert [symbols[id_] for id_ in merge(word + " ")] == published(_letters(word + "</w>"))

    def test_the_time_for_a_long_word_is_not_quadratic(self):
        tokenizer, seconds = ClipTokenizer(), []
        for length in (50_000, 500_000):
            start = time.process_time()
            tokenizer.encode("ab" * length)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 40 * seconds[0]


class TestVocabulary:
    def test_no_two_merges_make_the_same_token(self):
        *_, symbols = clip_vocabulary._published()
        assert len(set(symbols)) == len(symbols) == 49406

    def test_cached_words_are_bounded_in_number_and_length(self, monkeypatch):
        monkeypatch.setattr(clip_vocabulary, "CACHED_WORDS", 10)
        fresh = Vocabulary(())
        for index in range(100):
            assert fresh.words["word" * 5 + chr(ord("a") + index % 26) * (index // 26)]
        assert fresh.words["x" * 10_000]
        assert len(fresh.words) <= len(fresh.symbols) + 10
        assert max(map(len, fresh.words)) < 100

    def test_threads_agree(self, fuzzed, monkeypatch):
        monkeypatch.setattr(clip_vocabulary, "CACHED_WORDS", 50)
        texts = fuzzed(300, seed=11)
        expected, found = ClipTokenizer()(texts), []
        threads = [threading.Thread(target=lambda: found.append(ClipTokenizer()(texts))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [torch.equal(ids, expected) for ids in found] == [True] * 4

    @pytest.mark.parametrize("tokens", [["two words"], [""], ["<a>", "<a>"], ["<end_of_text>"]])
    def test_special_tokens_with_white_space_or_given_twice_are_refused(self, tokens):
        with pytest.raises(ConfigError, match="each token must differ from the others and from CLIP's own") as caught:
            ClipTokenizer(ClipOptions(additional_special_tokens=tokens))
        assert (caught.value.name, caught.value.found) == ("additional_special_tokens", tokens)

    def test_a_special_token_of_letters_is_found_within_words(self):
        special = ClipTokenizer(ClipOptions(additional_special_tokens=["mask", "\u017feal", "né"]))
        assert special.encode("masks") == [49408, *special.encode("s")]
        assert special.encode("mask, né") == [49408, *special.encode(","), 49410]
        assert special.encode("seals") == [*special.encode("seal"), *special.encode("s")]

    def test_a_special_token_that_ends_like_a_word_changes_no_word(self):
        special = ClipTokenizer(ClipOptions(additional_special_tokens=("zqzq</w>", "cat</w>")))
        assert special.encode("zqzq cat") == ClipTokenizer().encode("zqzq cat")
        assert special.encode("zqzq</w> cat</w>") == [49408, 49409]

    @pytest.mark.parametrize("special", [(), ("<a>",), ("mask",), ("'s!",), ("né",)])
    def test_every_pair_of_ascii_characters_is_split_as_by_the_unicode_pattern(self, special):
        fresh = Vocabulary(special)
        ends = ("", "s", "'Ll", "<A>", "Masks", "'S!", "NÉ")
        pairs = [chr(a) + chr(b) for a in range(128) for b in range(128)]
        texts = [*(pair + end for pair in pairs for end in ends), *("The " + pair for pair in pairs)]
        assert [text for text in texts if fresh.split(text) != fresh._unicode_words(text)] == []

    @given(st.text(st.sampled_from("aBz '.!\n\x1c9"), max_size=12))
    def test_ascii_texts_are_split_as_by_the_unicode_pattern(self, text):
        vocabulary = clip_vocabulary.vocabulary()
        assert vocabulary.split(text) == vocabulary._unicode_words(text)

    def test_special_tokens_are_not_regular_expressions(self):
        special = ClipTokenizer(ClipOptions(additional_special_tokens=["<|mask|>"]))
        assert special.encode("a <|mask|> b") == [320, 49408, 321]
