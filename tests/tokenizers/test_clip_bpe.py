from __future__ import annotations

import gzip
import itertools
import pickle
import subprocess
import sys
import threading
import time
from importlib.resources import files

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from registry_core import BuildError, ConfigError, InputError
from registry_core.tokenizers import clip_bpe
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer, Vocabulary


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


class TestCall:
    def test_known_ids_of_the_published_vocabulary(self, tokenizer):
        row = tokenizer("a photo of a cat")[0]
        assert row[:8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]

    def test_one_text_and_a_list_of_it_give_the_same_row(self, tokenizer):
        ids = tokenizer("a dog")
        assert ids.shape == (1, 77)
        assert ids.dtype == torch.int64
        assert torch.equal(ids, tokenizer(["a dog"]))
        assert torch.equal(ids, tokenizer(text for text in ("a dog",)))

    def test_no_texts_give_no_rows(self, tokenizer):
        assert tokenizer([]).shape == (0, 77)

    def test_a_long_text_is_cut_and_still_ends(self, tokenizer):
        row = tokenizer("very " * 1000)[0]
        assert row[-1] == tokenizer.eot_token_id
        assert (row == tokenizer.eot_token_id).sum() == 1

    def test_rows_do_not_depend_on_their_neighbours(self, tokenizer, fuzzed):
        texts = fuzzed(200, seed=9)
        assert torch.equal(tokenizer(texts), torch.cat([tokenizer(text) for text in texts]))

    def test_results_can_be_written_to_without_changing_later_ones(self, tokenizer):
        first = tokenizer("a dog")
        first.zero_()
        assert tokenizer("a dog")[0, 0] == tokenizer.sot_token_id

    @pytest.mark.parametrize("wrong", [None, 3, b"bytes", [1], ["a", None], [["a"]]])
    def test_what_is_no_text_is_refused(self, tokenizer, wrong):
        with pytest.raises(InputError, match="takes a text or a list of texts, got"):
            tokenizer(wrong)

    @pytest.mark.parametrize("length", [0, -1, 2.5, "77"])
    def test_what_is_no_length_is_refused(self, tokenizer, length):
        with pytest.raises(InputError, match="expected a positive number of tokens"):
            tokenizer("a", context_length=length)


class TestDecode:
    def test_special_tokens_and_padding_are_left_out(self, tokenizer):
        assert tokenizer.decode(tokenizer("A photo of a CAT!")[0]) == "a photo of a cat !"

    def test_they_are_kept_on_demand(self, tokenizer):
        text = tokenizer.decode(tokenizer("hi", context_length=5)[0], skip_special_tokens=False)
        assert text == "<start_of_text>hi <end_of_text>!!"

    @given(st.text(st.characters(whitelist_categories=["Ll", "Lo"]), min_size=1, max_size=12))
    def test_a_word_comes_back(self, word):
        mine = ClipTokenizer()
        cleaned = "".join(mine._clean(word))
        assert mine.decode(mine.encode(word)).replace(" ", "") == cleaned

    def test_a_batch_is_refused(self, tokenizer):
        with pytest.raises(InputError, match=r"one row of token ids, \[L\], got \[2, 77\]. Decode a batch row by row"):
            tokenizer.decode(tokenizer(["a", "b"]))

    def test_ids_of_another_vocabulary_are_refused(self, tokenizer):
        with pytest.raises(InputError, match=r"ids \[49408\] are not of this tokenizer; its ids are 0 to 49407"):
            tokenizer.decode([320, 49408])


@pytest.fixture(scope="module")
def published():
    """Byte-pair encoding as it is defined: symbols -> symbols, by the merges of the file."""
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
    """What merging begins with: single characters, the last with the end of the word if there is one."""
    word = symbol.removesuffix("</w>")
    return [*word[:-1], word[-1] + symbol[len(word) :]]


class TestMerging:
    def test_each_tokens_own_text_is_merged_to_that_token(self, published):
        # With this, to merge by the rank of the joined text is to merge by the rank of the pair.
        *_, symbols = clip_bpe._base()
        assert [symbol for symbol in symbols if published(_letters(symbol)) != [symbol]] == []

    def test_a_word_that_is_a_token_is_merged_to_that_token(self):
        _, merge, symbols = clip_bpe._base()
        words = {symbol: id_ for id_, symbol in enumerate(symbols[512:], 512) if symbol.endswith("</w>")}
        texts = {clip_bpe._bytes_of(symbol).decode(errors="replace"): id_ for symbol, id_ in words.items()}
        whole = {text: id_ for text, id_ in texts.items() if "\ufffd" not in text}
        assert len(whole) > 34_000
        assert [text for text, id_ in whole.items() if merge(text) != [id_]] == []

    @given(st.text(min_size=1, max_size=40).filter(lambda word: " " not in word))
    @example("a" * 1000)
    @example("the" * 200)
    def test_any_word_is_merged_as_published(self, published, word):
        _, merge, symbols = clip_bpe._base()
        spelt = "".join([clip_bpe._BYTE_SYMBOLS[byte] for byte in word.encode()])
        assert [symbols[id_] for id_ in merge(word + " ")] == published(_letters(spelt + "</w>"))

    @given(st.text("aeinorst", min_size=1, max_size=30))
    def test_any_word_of_common_letters_is_merged_as_published(self, published, word):
        _, merge, symbols = clip_bpe._base()
        assert [symbols[id_] for id_ in merge(word + " ")] == published(_letters(word + "</w>"))

    def test_a_very_long_word_takes_no_quadratic_time(self, tokenizer):
        seconds = []
        for length in (20_000, 200_000):
            start = time.process_time()
            tokenizer.encode("ab" * length)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 40 * seconds[0]


class TestVocabulary:
    def test_no_two_merges_make_the_same_token(self):
        *_, symbols = clip_bpe._base()
        assert len(set(symbols)) == len(symbols) == 49406

    def test_pieces_without_a_word_do_not_count_as_length(self):
        # U+0345 is no letter, and its upper case is: the pattern, which ignores case, has no place for it.
        row = ClipTokenizer()("\u0345 " * 100 + "cat")[0]
        assert row[:4].tolist() == [49406, 2368, 49407, 0]

    def test_kept_pieces_are_bounded_in_number_and_length(self, monkeypatch):
        monkeypatch.setattr(clip_bpe, "KEPT_PIECES", 10)
        fresh = Vocabulary(())
        for index in range(100):
            assert fresh.pieces[f"piece{index}"]
        assert fresh.pieces["x" * 10_000]
        assert len(fresh.pieces) <= len(fresh.symbols) + 10
        assert max(map(len, fresh.pieces)) < 100

    def test_threads_agree(self, fuzzed, monkeypatch):
        monkeypatch.setattr(clip_bpe, "KEPT_PIECES", 50)
        texts = fuzzed(300, seed=11)
        expected, found = ClipTokenizer()(texts), []
        threads = [threading.Thread(target=lambda: found.append(ClipTokenizer()(texts))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [torch.equal(ids, expected) for ids in found] == [True] * 4

    @pytest.mark.parametrize("tokens", [["two words"], [""], ["<a>", "<a>"], ["<end_of_text>"]])
    def test_special_tokens_that_no_text_can_hold_are_refused(self, tokens):
        with pytest.raises(ConfigError, match="each must be a text of its own, without white space"):
            ClipTokenizer(ClipOptions(additional_special_tokens=tokens))

    def test_a_special_token_of_letters_is_found_within_words(self):
        special = ClipTokenizer(ClipOptions(additional_special_tokens=["mask", "\u017feal", "né"]))
        assert special.encode("masks") == [49408, *special.encode("s")]
        assert special.encode("mask, né") == [49408, *special.encode(","), 49410]
        assert special.encode("seals") == [*special.encode("seal"), *special.encode("s")]

    def test_every_pair_of_ascii_characters_is_cut_into_words_as_by_the_unicode_pattern(self):
        fresh = Vocabulary(("<a>",)).pieces
        pieces = [chr(a) + chr(b) + end for a in range(128) for b in range(128) for end in ("", "s", "'Ll", "<a>")]
        assert [piece for piece in pieces if fresh._ascii_words(piece) != fresh._words(piece)] == []

    def test_special_tokens_are_no_patterns(self):
        special = ClipTokenizer(ClipOptions(additional_special_tokens=["<|mask|>"]))
        assert special.encode("a <|mask|> b") == [320, 49408, 321]


class TestObject:
    def test_a_pickle_is_small_and_equal(self):
        data = pickle.dumps(ClipTokenizer(ClipOptions(clean="whitespace"), 20))
        assert len(data) < 1000
        copy = pickle.loads(data)
        assert repr(copy) == "ClipTokenizer(context_length=20, vocab_size=49408, clean='whitespace')"
        assert copy("Ab").shape == (1, 20)

    def test_it_says_what_it_does(self):
        shown = repr(ClipTokenizer(ClipOptions(reduction_mask="random"), 32))
        assert shown == "ClipTokenizer(context_length=32, vocab_size=49408, clean='lower', reduction_mask='random')"

    def test_a_forked_process_can_tokenise(self, tokenizer):
        tokenizer("warm")
        loader = torch.utils.data.DataLoader(["a", "b"], batch_size=None, num_workers=1, collate_fn=tokenizer)
        assert [ids.shape for ids in loader] == [(1, 77)] * 2

    @pytest.mark.parametrize(("library", "need"), [("tiktoken", "tiktoken"), ("regex", "regex"), ("ftfy", "ftfy")])
    def test_a_missing_library_is_named_with_the_command_that_brings_it(self, monkeypatch, library, need):
        from registry_core.tokenizers import cleaning

        for cached in (clip_bpe._base, clip_bpe.vocabulary, cleaning._repairs):
            cached.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == library]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(BuildError, match=rf"needs .*{need}.*pip install 'registry_core\[text\]'"):
            ClipTokenizer()

    def test_the_module_imports_no_heavy_library(self):
        code = (
            "import sys, registry_core.tokenizers.make, registry_core.tokenizers.clip_bpe\n"
            "assert not {'torch', 'tiktoken', 'transformers', 'ftfy', 'regex'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-P", "-c", code], check=True)
