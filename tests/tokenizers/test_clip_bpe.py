from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from registry_core import BuildError
from registry_core.tokenizers import clip_vocabulary
from registry_core.tokenizers.clip_bpe import ClipOptions, ClipTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


class TestCall:
    def test_known_ids_of_the_published_vocabulary(self, tokenizer):
        row = tokenizer("a photo of a cat")[0]
        assert row[:8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]

    def test_characters_that_no_word_contains_do_not_count(self):
        # U+0345 is not a letter, but its upper case is. The pattern ignores case and matches it nowhere.
        row = ClipTokenizer()("\u0345 " * 100 + "cat")[0]
        assert row[:4].tolist() == [49406, 2368, 49407, 0]

    def test_a_long_text_is_truncated_and_has_the_end_token(self, tokenizer):
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


class TestDecode:
    def test_special_tokens_and_padding_are_left_out(self, tokenizer):
        assert tokenizer.decode(tokenizer("A photo of a CAT!")[0]) == "a photo of a cat !"

    def test_special_tokens_are_kept_if_asked_for(self, tokenizer):
        text = tokenizer.decode(tokenizer("hi", context_length=5)[0], skip_special_tokens=False)
        assert text == "<start_of_text>hi <end_of_text>!!"

    @given(st.text(st.characters(whitelist_categories=["Ll", "Lo"]), min_size=1, max_size=12))
    def test_a_word_is_decoded_to_itself(self, word):
        mine = ClipTokenizer()
        cleaned = "".join(mine._clean(word))
        assert mine.decode(mine.encode(word)).replace(" ", "") == cleaned


class TestObject:
    def test_a_pickle_is_small_and_equal(self):
        data = pickle.dumps(ClipTokenizer(ClipOptions(clean="whitespace"), 20))
        assert len(data) < 1000
        copy = pickle.loads(data)
        assert repr(copy) == "ClipTokenizer(context_length=20, vocab_size=49408, clean='whitespace')"
        assert copy("Ab").shape == (1, 20)

    def test_the_repr_shows_the_options(self):
        shown = repr(ClipTokenizer(ClipOptions(reduction_mask="random"), 32))
        assert shown == "ClipTokenizer(context_length=32, vocab_size=49408, clean='lower', reduction_mask='random')"

    def test_a_forked_process_can_tokenise(self, tokenizer):
        tokenizer("warm")
        loader = torch.utils.data.DataLoader(["a", "b"], batch_size=None, num_workers=1, collate_fn=tokenizer)
        assert [ids.shape for ids in loader] == [(1, 77)] * 2

    @pytest.mark.parametrize(
        ("library", "need"),
        [
            ("tiktoken", "CLIP's tokenizer needs tiktoken and regex"),
            ("regex", "CLIP's tokenizer needs tiktoken and regex"),
            ("ftfy", "Cleaning texts needs ftfy"),
        ],
    )
    def test_a_missing_library_is_named_with_the_command_that_installs_it(self, monkeypatch, library, need):
        from registry_core.tokenizers import cleaning

        for cached in (clip_vocabulary._published, clip_vocabulary.vocabulary, cleaning._repairs):
            cached.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == library]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(
            BuildError, match=rf"{need}, and {library} is not.*pip install 'registry_core\[text\]'"
        ) as caught:
            ClipTokenizer()
        assert caught.value.name == library

    def test_the_module_imports_no_heavy_library(self):
        code = (
            "import sys, registry_core.tokenizers.make, registry_core.tokenizers.clip_bpe\n"
            "assert not {'torch', 'tiktoken', 'transformers', 'ftfy', 'regex'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-P", "-c", code], check=True)
