"""What every tokenizer does with texts, lengths and ids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry_core import InputError
from registry_core.tokenizers.clip_bpe import ClipTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


class TestTexts:
    def test_one_text_and_a_list_of_it_give_the_same_row(self, tokenizer):
        ids = tokenizer("a dog")
        assert ids.shape == (1, 77)
        assert ids.dtype == torch.int64
        assert torch.equal(ids, tokenizer(["a dog"]))
        assert torch.equal(ids, tokenizer(text for text in ("a dog",)))

    @pytest.mark.parametrize("none", [[], (), iter(()), map(str, ()), np.array([], dtype=str)])
    def test_no_texts_give_no_rows(self, tokenizer, none):
        assert tokenizer(none).shape == (0, 77)

    @pytest.mark.parametrize("wrong", [None, 3, b"bytes", [1], ["a", None], [["a"]], np.array("a")])
    def test_other_types_are_refused(self, tokenizer, wrong):
        with pytest.raises(InputError) as caught:
            tokenizer(wrong)
        assert caught.value.argument == "texts"

    @pytest.mark.parametrize("wrong", [None, 3, b"cat", ["a cat"]])
    def test_encode_takes_one_text(self, tokenizer, wrong):
        with pytest.raises(InputError) as caught:
            tokenizer.encode(wrong)
        assert (caught.value.argument, caught.value.found) == ("texts", wrong)

    def test_the_error_names_the_type(self, tokenizer):
        with pytest.raises(InputError, match=r"takes a text or a list of texts, got int 3\. Nothing was tokenised"):
            tokenizer(["a", 3])


class TestLength:
    @pytest.mark.parametrize("length", [5, np.int64(5), torch.tensor(5)])
    def test_is_any_whole_number(self, tokenizer, length):
        assert tokenizer("a dog", length).tolist() == [[49406, 320, 1929, 49407, 0]]

    @pytest.mark.parametrize("length", [0, -1, 2.5, "77", True, torch.tensor(2.5), np.array([5])])
    def test_other_values_are_refused(self, tokenizer, length):
        with pytest.raises(InputError) as caught:
            tokenizer("a", context_length=length)
        assert caught.value.argument == "context_length"
        assert caught.value.found is length

    def test_the_error_gives_the_value(self, tokenizer):
        with pytest.raises(InputError, match=r"context_length=-1: expected a positive number of tokens\. Nothing was"):
            tokenizer("a", context_length=-1)


class TestIds:
    @pytest.mark.parametrize(
        "ids", [np.array([320, 2368]), [np.int64(320), np.int32(2368)], list(torch.tensor([320, 2368])), (320, 2368)]
    )
    def test_may_be_of_numpy_and_torch(self, tokenizer, ids):
        assert tokenizer.decode(ids) == "a cat"

    def test_a_batch_is_not_decoded(self, tokenizer):
        with pytest.raises(InputError, match=r"one row of token ids, \[L\], got \[2, 77\]. Decode a batch row by row"):
            tokenizer.decode(tokenizer(["a", "b"]))

    @pytest.mark.parametrize("wrong", [320, None, "a cat", [True], [1.0], torch.tensor(320), [np.array([320])]])
    def test_other_types_are_not_decoded(self, tokenizer, wrong):
        with pytest.raises(InputError) as caught:
            tokenizer.decode(wrong)
        assert (caught.value.argument, caught.value.expected) == ("ids", "one row of token ids, [L]")

    def test_ids_of_another_vocabulary_are_not_decoded(self, tokenizer):
        with pytest.raises(InputError, match=r"not have the ids \[49408\]; its ids are 0 to 49407"):
            tokenizer.decode([320, 49408])

    def test_ids_that_the_model_has_no_embedding_for_are_refused(self):
        tokenizer = ClipTokenizer(id_limit=600)
        with pytest.raises(InputError, match=r"up to 49407, and the model's vocabulary ends at 599 .*has 49408 ids"):
            tokenizer("a cat")
        assert tokenizer([]).shape == (0, 77)
