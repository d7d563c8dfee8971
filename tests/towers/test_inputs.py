"""Checks of images and token ids: which inputs are refused, and the messages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import InputError, TextConfig, VisionConfig
from registry_core.towers.inputs import check_image, check_text, embed_ids, unknown_pooling

IDS = torch.ones(2, 8, dtype=torch.int64)
IMAGES = torch.zeros(2, 3, 16, 24)


class TestImages:
    def test_that_fit(self):
        check_image(IMAGES, (16, 24))
        check_image(IMAGES.half(), None)

    @pytest.mark.parametrize(
        ("image", "found"),
        [("cat.png", "a str"), (None, "a NoneType"), ([IMAGES], "a list"), (IMAGES.to(torch.uint8), "a tensor of")],
    )
    def test_that_are_no_floating_point_tensor(self, image, found):
        with pytest.raises(InputError) as caught:
            check_image(image, (16, 24))
        assert caught.value.argument == "image"
        assert caught.value.found.startswith(found)

    @pytest.mark.parametrize("size", [(16, 24), None])
    @pytest.mark.parametrize("shape", [(3, 16, 24), (2, 1, 16, 24), (2, 3, 1, 16, 24)])
    def test_of_another_number_of_dimensions_or_channels(self, shape, size):
        with pytest.raises(InputError) as caught:
            check_image(torch.zeros(shape), size)
        assert caught.value.found == list(shape)

    def test_of_another_size(self):
        with pytest.raises(InputError) as caught:
            check_image(IMAGES, (24, 16))
        assert (caught.value.expected, caught.value.found) == ("[N, 3, 24, 16]", [2, 3, 16, 24])

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (
                IMAGES.int(),
                r"a tensor of floating-point numbers, got a tensor of torch\.int32\. `reg.*stack joins them\.$",
            ),
            (IMAGES[0], r"images of shape \[N, 3, 8, 8\], got \[3, 16, 24\]\. `registry\.pre.* with `image_size=`\.$"),
        ],
    )
    def test_messages(self, image, message):
        with pytest.raises(InputError, match=message):
            check_image(image, (8, 8))

    def test_an_input_error_is_a_value_error(self):
        with pytest.raises(ValueError, match="takes images"):
            check_image(IMAGES, (8, 8))


class TestTexts:
    def test_that_fit(self):
        check_text(IDS, 8)
        check_text(IDS.int(), None)

    @pytest.mark.parametrize("text", ["a cat", ["a cat"], None])
    def test_that_are_no_tensor(self, text):
        with pytest.raises(InputError) as caught:
            check_text(text, 8)
        assert (caught.value.argument, caught.value.found) == ("text", type(text).__name__)

    @pytest.mark.parametrize("ids", [IDS[0], IDS[None], IDS[:, :0], IDS.repeat(1, 2)])
    def test_of_another_shape(self, ids):
        with pytest.raises(InputError) as caught:
            check_text(ids, 8)
        assert (caught.value.expected, caught.value.found) == ("[N, L] with L from 1 to 8", list(ids.shape))

    def test_of_another_dtype(self):
        with pytest.raises(InputError) as caught:
            check_text(IDS.float(), 8)
        assert (caught.value.argument, caught.value.found) == ("text", torch.float32)

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ("a cat", r"^The text tower takes a tensor of token ids, got a str\. `registry\.tokenizer\(model\)` makes"),
            (
                IDS,
                r"of shape \[N, L\] with L from 1 to 4, got \[2, 8\]\. Truncate the texts, or .* `context_length=`\.$",
            ),
            (IDS[:, :4].float(), r"^The text tower takes token ids of dtype int64 or int32, got torch\.float32\. "),
        ],
    )
    def test_messages(self, ids, message):
        with pytest.raises(InputError, match=message):
            check_text(ids, 4)


class TestVocabulary:
    def test_ids_that_are_in_it(self):
        embedding = nn.Embedding(10, 3)
        assert torch.equal(embed_ids(embedding, IDS, 10), embedding(IDS))

    @pytest.mark.parametrize(("low", "high"), [(0, 10), (-1, 5), (40, 50)])
    def test_ids_that_are_not(self, low, high):
        with pytest.raises(InputError) as caught:
            embed_ids(nn.Embedding(10, 3), torch.tensor([[low, high]]), 10)
        assert (caught.value.expected, caught.value.found) == ((0, 9), (low, high))

    def test_other_index_errors_are_passed_on(self):
        with pytest.raises(IndexError):
            embed_ids(nn.Embedding(5, 3), torch.tensor([[7]]), 10)

    def test_the_message(self):
        expected = (
            r"^The text tower takes token ids from 0 to 9 \(vocab_size=10\), got ids from 3 to 49407\. Nothing was "
            r"computed\. .*another tokenizer\. Use the tokenizer of the model"
        )
        with pytest.raises(InputError, match=expected):
            embed_ids(nn.Embedding(10, 3), torch.tensor([[3, 49407]]), 10)


@pytest.mark.parametrize(("config", "close"), [(VisionConfig, "tok"), (TextConfig, "eos")])
def test_an_unknown_pooling(config, close):
    error = unknown_pooling(f"{close}s", config)
    assert (error.argument, error.found, error.suggestions[0]) == ("pool_type", f"{close}s", close)
    assert str(error).startswith(f"pool_type='{close}s' was set on a tower; expected one of ")
    assert str(error).endswith("Nothing was computed.")
