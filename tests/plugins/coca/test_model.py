"""The outputs of forward and of the encoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from registry_core import BuildError, InputError


@torch.no_grad()
def test_all_outputs(model, image, text):
    out = model(image, text)
    assert list(out) == ["image_features", "text_features", "logits", "logit_scale", "labels"]
    assert out["logits"].shape == (3, 11, 40)
    torch.testing.assert_close(out["labels"], text[:, 1:])
    torch.testing.assert_close(out["image_features"], model.encode_image(image))
    torch.testing.assert_close(out["text_features"].norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(out["logit_scale"], model.logit_scale.exp())


@torch.no_grad()
def test_without_labels_the_last_token_is_continued_too(model, image, text):
    out, short = model(image, text, output_labels=False), model(image, text)
    assert "labels" not in out
    torch.testing.assert_close(out["logits"][:, :-1], short["logits"])
    assert out["logits"].shape == (3, 12, 40)


@torch.no_grad()
def test_images_encoded_before_are_not_encoded_again(model, image, text):
    given = model(image)
    assert list(given) == ["image_features", "image_embs"]
    assert given["image_embs"].shape == (3, 5, 24)
    again = model(None, text, image_latent=given["image_features"], image_embs=given["image_embs"])
    torch.testing.assert_close(again, model(image, text))


@torch.no_grad()
def test_texts_alone(model, text):
    out = model(text=text)
    assert list(out) == ["text_features", "logit_scale"]
    torch.testing.assert_close(out["text_features"], model.encode_text(text))


@torch.no_grad()
def test_texts_without_a_next_token(model, image, text):
    outputs = model(image, text[:, :1])
    assert (outputs["logits"].shape, outputs["labels"].shape) == ((3, 0, 40), (3, 0))


@torch.no_grad()
def test_an_empty_batch(model, image, text):
    outputs = model(image[:0], text[:0])
    assert (outputs["image_features"].shape, outputs["logits"].shape) == ((0, 24), (0, 11, 40))


@pytest.mark.parametrize(("images", "texts"), [(1, 3), (3, 1), (2, 3)])
def test_different_numbers_of_images_and_texts_are_refused(model, image, text, images, texts):
    with pytest.raises(InputError) as caught:
        model(image[:images], text[:texts])
    assert (caught.value.argument, caught.value.expected, caught.value.found) == ("text", images, texts)


def test_the_message_for_them_has_both_numbers(model, image, text):
    message = r"one text for each image, got 1 images and 3 texts\. Nothing was computed\. encode_image and encode_text"
    with pytest.raises(InputError, match=message):
        model(image[:1], text)


@pytest.mark.parametrize(("given", "missing"), [("image_latent", "image_embs"), ("image_embs", "image_latent")])
def test_half_of_an_earlier_call_is_refused(model, text, given, missing):
    message = rf"belong together, but {missing} was not given, .* image\. Nothing was computed\. Give both"
    with pytest.raises(InputError, match=message) as caught:
        model(None, text, **{given: torch.zeros(3, 24)})
    assert caught.value.argument == missing


def test_a_call_without_inputs_is_refused(model):
    with pytest.raises(InputError, match=r"needs images, texts or both, but got neither\. Nothing was computed"):
        model()


@torch.no_grad()
def test_features_are_normalised_by_default(model, image, text):
    for encode, given in ((model.encode_image, image), (model.encode_text, text)):
        plain = encode(given, normalize=False)
        assert (plain.norm(dim=-1) - 1).abs().min() > 1e-3
        torch.testing.assert_close(encode(given), F.normalize(plain, dim=-1))


@torch.no_grad()
def test_a_logit_bias_is_an_output(coca, image, text):
    model = coca(init_logit_bias=-1.0)
    torch.testing.assert_close(model(image, text)["logit_bias"], model.logit_bias)
    logits, transposed = model.get_logits(image, text)
    features = model(image, text)
    expected = model.logit_scale.exp() * features["image_features"] @ features["text_features"].T + model.logit_bias
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(transposed, expected.T)


@torch.no_grad()
def test_no_logit_sees_later_tokens_or_other_images(model, image, text):
    other = text.clone()
    other[:, 7:] = 5
    before, after = model(image, text)["logits"], model(image, other)["logits"]
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().max() > 1e-3
    torch.testing.assert_close(model(image[1:], text[1:])["logits"], before[1:])
    assert (model(image.flip(0), text)["logits"] - before)[0].abs().max() > 1e-3


def test_every_parameter_learns(model, image, text):
    model.train()
    out = model(image, text)
    caption = F.cross_entropy(out["logits"].flatten(0, 1), out["labels"].flatten())
    match = out["logit_scale"] * (out["image_features"] @ out["text_features"].T).diagonal().mean()
    (caption + match).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_grad_checkpointing_changes_no_gradient(coca, image, text):
    gradients = []
    for enable in (False, True):
        model = coca().train()
        model.set_grad_checkpointing(enable)
        model(image, text)["logits"].square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*gradients)


def test_locking_leaves_the_decoder_open(model):
    model.lock_image_tower()
    model.lock_text_tower()
    trainable = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"text_decoder", "logit_scale"}


def test_positions_and_class_tokens_are_not_decayed(model):
    assert model.no_weight_decay() == {
        "visual.positional_embedding", "visual.class_embedding", "text.positional_embedding", "text.cls_emb",
    }  # fmt: skip


class TestOneTower:
    @pytest.fixture
    def path(self, registry, model, config, tmp_path):
        torch.save(model.state_dict(), tmp_path / "x.pt")
        registry.add_config(config, "x")
        return tmp_path / "x.pt"

    def test_the_image_side(self, registry, model, path, image):
        part = registry.create("x", path, tower="image")
        assert {name.partition(".")[0] for name in part.state_dict()} == {"visual", "logit_scale"}
        with torch.no_grad():
            torch.testing.assert_close(part.encode_image(image), model.encode_image(image), atol=0, rtol=0)
        part.set_grad_checkpointing()
        with pytest.raises(BuildError) as caught:
            part.encode_text(torch.zeros(1, 12, dtype=torch.long))
        assert (caught.value.tower, caught.value.found) == ("text", "image")

    def test_the_text_side(self, registry, model, path, text):
        part = registry.create("x", path, tower="text")
        assert {name.partition(".")[0] for name in part.state_dict()} == {"text", "logit_scale"}
        with torch.no_grad():
            torch.testing.assert_close(part(text=text), model(text=text), atol=0, rtol=0)
        with pytest.raises(BuildError) as caught:
            part.encode_image(torch.zeros(1, 3, 32, 32))
        assert (caught.value.tower, caught.value.found) == ("image", "text")

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_the_decoder_needs_both(self, registry, config, tower, image, text):
        registry.add_config(config, "x")
        part = registry.create("x", False, tower=tower)
        embeddings = {"image_latent": torch.zeros(3, 24), "image_embs": torch.zeros(3, 5, 24)}
        for call in (lambda: part.generate(image), lambda: part(text=text, **embeddings)):
            message = (
                rf"no text decoder, because .*tower='{tower}' and the decoder needs both towers\. .*without `tower="
            )
            with pytest.raises(BuildError, match=message) as caught:
                call()
            assert (caught.value.tower, caught.value.found) == ("text_decoder", tower)
