from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from registry_core import BuildError, InputError
from registry_core.tokenizers import clip_vocabulary
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer


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

    @pytest.mark.parametrize("none", [[], (), iter(()), map(str, ()), np.array([], dtype=str)])
    def test_no_texts_give_no_rows(self, tokenizer, none):
        assert tokenizer(none).shape == (0, 77)

    @pytest.mark.parametrize("length", [5, np.int64(5), torch.tensor(5)])
    def test_a_length_may_be_any_whole_number(self, tokenizer, length):
        assert tokenizer("a dog", length).tolist() == [[49406, 320, 1929, 49407, 0]]

    def test_pieces_without_a_word_do_not_count_as_length(self):
        # U+0345 is no letter, and its upper case is: the pattern, which ignores case, has no place for it.
        row = ClipTokenizer()("\u0345 " * 100 + "cat")[0]
        assert row[:4].tolist() == [49406, 2368, 49407, 0]

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

    @pytest.mark.parametrize("wrong", [None, 3, b"bytes", [1], ["a", None], [["a"]], np.array("a")])
    def test_what_is_no_text_is_refused(self, tokenizer, wrong):
        with pytest.raises(InputError, match="takes a text or a list of texts, got"):
            tokenizer(wrong)

    @pytest.mark.parametrize("length", [0, -1, 2.5, "77", True, torch.tensor(2.5), np.array([5])])
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

    @pytest.mark.parametrize(
        "ids", [np.array([320, 2368]), [np.int64(320), np.int32(2368)], list(torch.tensor([320, 2368])), (320, 2368)]
    )
    def test_ids_may_be_of_numpy_and_torch(self, tokenizer, ids):
        assert tokenizer.decode(ids) == "a cat"

    @pytest.mark.parametrize("wrong", [320, None, "a cat", [True], [1.0], torch.tensor(320), [np.array([320])]])
    def test_what_is_no_row_is_refused(self, tokenizer, wrong):
        with pytest.raises(InputError, match="decode takes one row of token ids"):
            tokenizer.decode(wrong)

    @pytest.mark.parametrize("wrong", [None, 3, b"cat", ["a cat"]])
    def test_encode_takes_one_text(self, tokenizer, wrong):
        with pytest.raises(InputError, match="takes a text or a list of texts, got"):
            tokenizer.encode(wrong)

    def test_ids_of_another_vocabulary_are_refused(self, tokenizer):
        with pytest.raises(InputError, match=r"ids \[49408\] are not of this tokenizer; its ids are 0 to 49407"):
            tokenizer.decode([320, 49408])


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

        for cached in (clip_vocabulary._base, clip_vocabulary.vocabulary, cleaning._repairs):
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
