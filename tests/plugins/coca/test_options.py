"""The options of `generate`: ranges, types, and which options a generation type uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry_core import InputError

PAD, START, END = 0, 38, 39


@pytest.fixture
def generate(model, image, tokens):
    """Generate texts for the images. Arguments override the options of `tokens`."""
    return lambda **options: model.generate(image, **{**tokens, **options})


@pytest.mark.parametrize(
    ("options", "argument", "expected"),
    [
        ({"seq_len": 3}, "seq_len", "more than min_seq_len, 3"),
        ({"max_seq_len": 0}, "max_seq_len", "more than 0"),
        ({"generation_type": "top_k", "temperature": 0.0}, "temperature", "more than 0, and finite"),
        ({"generation_type": "top_p", "temperature": float("inf")}, "temperature", "more than 0, and finite"),
        ({"generation_type": "top_p", "top_p": 1.1}, "top_p", "from 0 to 1"),
        ({"generation_type": "top_k", "top_k": 0}, "top_k", "more than 0"),
        ({"generation_type": "top_k", "top_k": 2.0}, "top_k", "a whole number"),
        ({"generation_type": "top_p", "top_p": "0.5"}, "top_p", "a number"),
        ({"seq_len": None}, "seq_len", "a whole number"),
        ({"diversity_penalty": float("inf")}, "diversity_penalty", "a finite number"),
        ({"sot_token_id": "38"}, "sot_token_id", "token ids, which are whole numbers"),
        ({"sot_token_id": [38, 37]}, "sot_token_id", "one token id"),
        ({"eos_token_id": 39.0}, "eos_token_id", "token ids, which are whole numbers"),
        ({"num_beams": 4}, "num_beams", "a multiple of num_beam_groups, 3 (1 makes it a plain beam search)"),
        ({"repetition_penalty": 0.0}, "repetition_penalty", "more than 0"),
    ],
)
def test_options_out_of_range_are_refused(generate, options, argument, expected):
    with pytest.raises(InputError) as caught:
        generate(**options)
    assert (caught.value.argument, caught.value.expected) == (argument, expected)
    assert caught.value.found == options[argument]


@pytest.mark.parametrize(
    ("options", "argument", "found"),
    [
        ({"sot_token_id": None}, "sot_token_id", (49406,)),
        ({"eos_token_id": [END, 40]}, "eos_token_id", (39, 40)),
        ({"eos_token_id": []}, "eos_token_id", ()),
        ({"pad_token_id": -1}, "pad_token_id", (-1,)),
    ],
)
def test_ids_outside_of_the_vocabulary_are_refused(generate, options, argument, found):
    with pytest.raises(InputError) as caught:
        generate(**options)
    assert (caught.value.argument, caught.value.found, caught.value.expected) == (argument, found, (0, 39))


def test_an_unknown_generation_type_is_refused_with_suggestions(generate):
    with pytest.raises(InputError) as caught:
        generate(generation_type="topk")
    assert caught.value.argument == "generation_type"
    assert caught.value.suggestions[0] == "top_k"
    assert set(caught.value.expected) == {"beam_search", "top_p", "top_k"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seq_len": 3}, r"seq_len=3: expected more than min_seq_len, 3\. Nothing was generated"),
        (
            {"generation_type": "topk"},
            r"generation_type='topk' is unknown\. Did you mean top_k.*beam_search, top_p, top_k\. Nothing was",
        ),
        (
            {"eos_token_id": [END, 40]},
            r"is 39, 40, but the model writes ids from 0 to 39\. Nothing was .* CLIP's 49406 and 49407\. Give",
        ),
        ({"eos_token_id": []}, r"eos_token_id is empty"),
        ({"eos_token_id": range(40)}, r"eos_token_id holds every id .*no text could continue\. Nothing was generated"),
    ],
)
def test_the_messages_have_the_facts(generate, options, message):
    with pytest.raises(InputError, match=message):
        generate(**options)


def test_options_of_another_generation_type_do_not_count(model, image, tokens):
    sampling = {"generation_type": "top_k", **tokens}
    expected = model.generate(image, **sampling)
    torch.testing.assert_close(model.generate(image, num_beams=1, top_p=None, **sampling), expected)
    beams = model.generate(image, **tokens)
    torch.testing.assert_close(model.generate(image, temperature=0, top_k=0, top_p=None, **tokens), beams)


@pytest.mark.parametrize("kind", ["beam_search", "top_k", "top_p"])
def test_numbers_may_be_of_numpy_or_torch(model, image, kind):
    plain = {"sot_token_id": START, "eos_token_id": END, "seq_len": 9, "min_seq_len": 2, "top_k": 1, "top_p": 0.0}
    given = {
        "sot_token_id": [np.int64(START)], "eos_token_id": np.int64(END), "pad_token_id": torch.tensor(PAD),
        "seq_len": np.int64(9), "min_seq_len": torch.tensor(2), "top_k": np.int32(1), "top_p": np.float32(0),
        "temperature": torch.tensor(2.0), "num_beams": np.int64(6), "num_beam_groups": np.int64(3),
    }  # fmt: skip
    expected = model.generate(image, generation_type=kind, fixed_output_length=True, **plain)
    torch.testing.assert_close(model.generate(image, generation_type=kind, fixed_output_length=True, **given), expected)
