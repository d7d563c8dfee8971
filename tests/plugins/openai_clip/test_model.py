"""The inputs and outputs of CLIP."""

from __future__ import annotations

import pytest
import torch

from registry_core import BuildError, InputError


@torch.no_grad()
def test_forward_gives_a_tuple(model, image, text):
    image_features, text_features, scale = model(image, text)
    torch.testing.assert_close(image_features, model.encode_image(image, normalize=True))
    torch.testing.assert_close(text_features, model.encode_text(text, normalize=True))
    torch.testing.assert_close(scale, model.logit_scale.exp())


@torch.no_grad()
def test_forward_gives_a_dict_if_output_dict_is_set(model, image, text):
    expected = dict(zip(("image_features", "text_features", "logit_scale"), model(image, text), strict=True))
    model.output_dict = True
    torch.testing.assert_close(model(image, text), expected, atol=0, rtol=0)


@torch.no_grad()
def test_an_input_left_out_gives_none(model, image, text):
    assert model(image)[1] is None
    assert model(text=text)[0] is None
    torch.testing.assert_close(model(text=text)[1], model(image, text)[1])


@torch.no_grad()
def test_a_bias_is_the_last_output(registry, image, text):
    model = registry.create("tiny", False, init_logit_bias=-10.0)
    assert len(model(image, text)) == 4
    assert model(image, text)[3].item() == -10.0
    model.output_dict = True
    assert list(model(image, text)) == ["image_features", "text_features", "logit_scale", "logit_bias"]


@torch.no_grad()
@pytest.mark.parametrize("bias", [None, -10.0])
def test_logits_are_scaled_similarities(registry, image, text, bias):
    model = registry.create("tiny", False, init_logit_bias=bias)
    by_image, by_text = model.get_logits(image, text)
    similarity = torch.nn.functional.cosine_similarity(
        model.encode_image(image)[:, None], model.encode_text(text)[None], dim=-1
    )
    torch.testing.assert_close(by_image, similarity / 0.07 + (bias or 0.0), atol=1e-4, rtol=1e-4)
    assert by_image.shape == (2, 3)
    assert torch.equal(by_text, by_image.T)


@torch.no_grad()
def test_features_are_normalised_only_on_request(model, image, text):
    for encode, given in ((model.encode_image, image), (model.encode_text, text)):
        raw, unit = encode(given), encode(given, normalize=True)
        torch.testing.assert_close(unit.norm(dim=-1), torch.ones(len(given)))
        torch.testing.assert_close(unit * raw.norm(dim=-1, keepdim=True), raw)
        assert (raw.norm(dim=-1) - 1).abs().min() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("length", [20, 21, 50, 76])
def test_a_text_shorter_than_the_context_has_the_padded_texts_feature(model, text, length):
    torch.testing.assert_close(model.encode_text(text[:, :length]), model.encode_text(text))


@torch.no_grad()
def test_a_batch_does_not_change_its_members(model, image, text):
    torch.testing.assert_close(model.encode_image(image[1:]), model.encode_image(image)[1:])
    torch.testing.assert_close(model.encode_text(text[2:]), model.encode_text(text)[2:])


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (3, 64, 64), (2, 1, 64, 64)])
def test_images_of_another_shape_are_refused(model, shape):
    with pytest.raises(InputError) as caught:
        model.encode_image(torch.zeros(shape))
    assert (caught.value.expected, caught.value.found) == ("[N, 3, 64, 64]", list(shape))
    assert "image_size=" in caught.value.advice


@pytest.mark.parametrize("shape", [(2, 78), (77,), (1, 1, 77)])
def test_texts_of_another_shape_are_refused(model, shape):
    with pytest.raises(InputError) as caught:
        model.encode_text(torch.ones(shape, dtype=torch.long))
    assert (caught.value.expected, caught.value.found) == ("[N, L] with L from 1 to 77", list(shape))
    assert "Truncate" in caught.value.advice


class TestOneTower:
    def test_names_are_the_whole_models_without_the_other_tower(self, registry, tiny_checkpoint):
        whole = registry.create("tiny", tiny_checkpoint).state_dict()
        image = registry.create("tiny", tiny_checkpoint, tower="image").state_dict()
        text = registry.create("tiny", tiny_checkpoint, tower="text").state_dict()
        assert set(image) == {name for name in whole if name.startswith("visual.")} | {"logit_scale"}
        assert set(text) == {name for name in whole if not name.startswith("visual.")}
        for part in (image, text):
            torch.testing.assert_close(dict(part), {name: whole[name] for name in part}, atol=0, rtol=0)

    @torch.no_grad()
    def test_features_are_the_whole_models(self, registry, tiny_checkpoint, image, text):
        whole = registry.create("tiny", tiny_checkpoint)
        images = registry.create("tiny", tiny_checkpoint, tower="image")
        texts = registry.create("tiny", tiny_checkpoint, tower="text")
        assert torch.equal(images.encode_image(image), whole.encode_image(image))
        assert torch.equal(texts.encode_text(text), whole.encode_text(text))

    @pytest.mark.parametrize(("tower", "absent"), [("image", "text"), ("text", "image")])
    def test_methods_of_the_absent_tower_name_it(self, registry, image, text, tower, absent):
        model = registry.create("tiny", False, tower=tower)
        calls = {
            "image": [lambda: model.encode_image(image), lambda: model(image, None), model.lock_image_tower],
            "text": [lambda: model.encode_text(text), lambda: model(None, text), model.lock_text_tower],
        }
        for call in (*calls[absent], lambda: model.get_logits(image, text)):
            with pytest.raises(BuildError) as caught:
                call()
            assert (caught.value.tower, caught.value.found) == (absent, tower)
            assert f"tower='{absent}'" in caught.value.advice

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_methods_for_both_towers_use_the_one_that_exists(self, registry, tower):
        model = registry.create("tiny", False, tower=tower)
        model.set_grad_checkpointing()
        expected = {"image": {"visual.positional_embedding", "visual.class_embedding"}, "text": set()}
        assert expected[tower] <= model.no_weight_decay()


@torch.no_grad()
def test_patch_dropout_only_applies_in_training_mode(registry, tiny_checkpoint, image):
    model = registry.create("tiny", tiny_checkpoint, patch_dropout=0.5)
    plain = registry.create("tiny", tiny_checkpoint)
    assert torch.equal(model.encode_image(image), plain.encode_image(image))
    model.train()
    assert model.visual.embed(image).shape == (2, 1 + 8, 64)
    assert not torch.allclose(model.encode_image(image), plain.encode_image(image))


@pytest.mark.parametrize("name", ["tiny", "tiny-rn"])
@torch.no_grad()
def test_an_empty_batch_has_no_features(registry, name):
    model = registry.create(name, False)
    nothing = torch.zeros(0, 3, 64, 64), torch.zeros(0, 16, dtype=torch.int64)
    image_features, text_features, _ = model(*nothing)
    assert image_features.shape == text_features.shape == (0, model.config.embed_dim)
    outputs = model.forward_intermediates(*nothing)
    assert {len(found) for found in (*outputs["image_intermediates"], *outputs["text_intermediates"])} == {0}


def test_a_text_of_no_tokens_is_refused(model):
    with pytest.raises(InputError) as caught:
        model.encode_text(torch.zeros(2, 0, dtype=torch.int64))
    assert (caught.value.expected, caught.value.found) == ("[N, L] with L from 1 to 77", [2, 0])


@pytest.mark.parametrize("wrong", ["a cat", ["a cat"], [[1, 2]], None])
def test_anything_but_a_tensor_is_refused(model, wrong):
    kind = type(wrong).__name__
    with pytest.raises(InputError) as caught:
        model.encode_text(wrong)
    assert (caught.value.argument, caught.value.expected) == ("text", "a tensor of token ids")
    assert kind in caught.value.found
    assert "tokenizer" in caught.value.advice
    with pytest.raises(InputError) as caught:
        model.encode_image(wrong)
    assert (caught.value.argument, caught.value.expected) == ("image", "a tensor of floating-point numbers")
    assert kind in caught.value.found
    assert "preprocess" in caught.value.advice


def test_images_of_whole_numbers_are_refused(model, image):
    with pytest.raises(InputError) as caught:
        model.encode_image(image.to(torch.uint8))
    assert caught.value.expected == "a tensor of floating-point numbers"
    assert "torch.uint8" in caught.value.found


@torch.no_grad()
def test_an_output_with_tokens_is_not_normalised(model, image, text):
    model.visual.output_tokens = True
    features, tokens = model.encode_image(image)
    assert features.ndim < tokens.ndim
    for call in (lambda: model.encode_image(image, normalize=True), lambda: model(image, text)):
        with pytest.raises(
            InputError, match=r"`visual\.output_tokens` is set, .* Nothing was returned\. Unset"
        ) as caught:
            call()
        assert caught.value.argument == "normalize"
