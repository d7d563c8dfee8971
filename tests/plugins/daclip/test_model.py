"""The inputs and outputs of DaCLIP."""

from __future__ import annotations

import pytest
import torch

from registry_core import InputError

IMAGE_KEYS = {"image_features", "image_degra_features"}
TEXT_KEYS = {"text_features", "text_degra_features"}


def pair(text):
    return torch.cat([text, text.flip(1)], dim=-1)


@torch.no_grad()
def test_forward_gives_the_encoders_outputs(full, image, text):
    outputs = full(image, pair(text))
    assert set(outputs) == IMAGE_KEYS | TEXT_KEYS | {"logit_scale"}
    features, degradation = full.encode_image(image, control=True, normalize=True)
    expected = {
        "image_features": features,
        "image_degra_features": degradation,
        "text_features": full.encode_text(text, normalize=True),
        "text_degra_features": full.encode_text(text.flip(1), normalize=True),
        "logit_scale": full.logit_scale.exp(),
    }
    torch.testing.assert_close(outputs, expected, atol=0, rtol=0)
    for key in IMAGE_KEYS | TEXT_KEYS:
        torch.testing.assert_close(outputs[key].norm(dim=-1), torch.ones(2))


def test_the_logit_scale_is_not_the_bases(full):
    with torch.no_grad():
        full.logit_scale.fill_(1.0)
        full.clip.logit_scale.fill_(2.0)
    assert full()["logit_scale"].item() == pytest.approx(2.718281828)


@torch.no_grad()
def test_images_alone(full, image):
    outputs = full(image, None)
    assert {key for key, value in outputs.items() if value is None} == TEXT_KEYS


@torch.no_grad()
def test_texts_alone(full, text):
    outputs = full(None, pair(text))
    assert {key for key, value in outputs.items() if value is None} == IMAGE_KEYS
    torch.testing.assert_close(outputs["text_features"], full.encode_text(text, normalize=True))


@torch.no_grad()
def test_caption_and_degradation_may_be_shorter_than_the_context(full):
    text = torch.cat([torch.arange(1, 9)[None], torch.arange(11, 19)[None]], dim=-1)
    outputs = full(text=text)
    torch.testing.assert_close(outputs["text_features"], full.encode_text(text[:, :8], normalize=True))
    torch.testing.assert_close(outputs["text_degra_features"], full.encode_text(text[:, 8:], normalize=True))


def test_an_odd_number_of_tokens_is_refused(full):
    message = (
        r"tokens of the caption, then .* an even number of tokens, got shape \[2, 153\]\. Nothing .* Tokenise both"
    )
    with pytest.raises(InputError, match=message) as caught:
        full(text=torch.ones(2, 153, dtype=torch.long))
    assert (caught.value.argument, caught.value.found) == ("text", [2, 153])


def test_too_long_a_caption_is_refused(full):
    with pytest.raises(InputError) as caught:
        full(text=torch.ones(1, 156, dtype=torch.long))
    assert (caught.value.expected, caught.value.found) == ("[N, L] with L from 1 to 77", [1, 78])


@pytest.mark.parametrize("control", [False, True])
def test_images_of_another_size_are_refused(full, control):
    with pytest.raises(InputError) as caught:
        full.encode_image(torch.zeros(2, 3, 32, 32), control=control)
    assert (caught.value.expected, caught.value.found) == ("[N, 3, 64, 64]", [2, 3, 32, 32])
    assert "image_size=" in caught.value.advice


@torch.no_grad()
def test_controls_survive_a_second_call(full, image):
    """The original consumed its list of controls in place."""
    first, second = full.encode_image(image, control=True), full.encode_image(image, control=True)
    torch.testing.assert_close(first, second, atol=0, rtol=0)
