"""All losses in one process, compared with open_clip's."""

from __future__ import annotations

import copy

import pytest
import torch
from loss_cases import CASES, KINDS, OURS, features, make, run

from registry_core.losses.contrastive import ClipLoss

PARTS = {
    "clip": ("contrastive_loss",),
    "clip with bias": ("contrastive_loss",),
    "coca": ("contrastive_loss", "caption_loss"),
    "distill": ("contrastive_loss", "distill_loss"),
    "daclip": ("contrastive_loss", "degra_loss"),
    "siglip": ("contrastive_loss",),
}


@pytest.mark.parity
@pytest.mark.parametrize("by_name", [True, False], ids=["dict", "plain"])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "fresh"])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_equals_open_clips(kind, options, cache, by_name):
    pytest.importorskip("open_clip")
    from loss_cases import theirs

    options = {**options, "cache_labels": cache} if kind != "siglip" else options
    inputs = features(kind, dtype=torch.float32)
    ours, expected = (make(library, kind, options) for library in (OURS, theirs()))
    for _ in range(2):  # the second time from the cache
        found = run(ours, inputs, by_name=by_name and kind != "daclip")
        wanted = run(expected, inputs, by_name=by_name and kind != "daclip")
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["clip", "siglip", "coca", "distill"])
def test_equals_open_clips_in_half_precision(kind, dtype):
    pytest.importorskip("open_clip")
    from loss_cases import theirs

    inputs = features(kind, dtype=dtype)
    found, wanted = (run(make(library, kind, {}), inputs) for library in (OURS, theirs()))
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["ClipLoss", "CoCaLoss", "DistillClipLoss", "SigLipLoss"])
def test_arguments_have_open_clips_order(name):
    pytest.importorskip("open_clip")
    import inspect

    from loss_cases import theirs

    for method in ("__init__", "forward"):
        ours, wanted = (
            list(inspect.signature(getattr(getattr(library, name), method)).parameters.values())
            for library in (OURS, theirs())
        )
        assert [each.name for each in ours[: len(wanted)]] == [each.name for each in wanted]
        changed = {each.name for each, their in zip(ours, wanted, strict=False) if each.default != their.default}
        assert changed <= {"logit_bias"}  # optional here, required by open_clip
        assert all(each.default is not each.empty for each in ours[len(wanted) :])


@pytest.mark.parity
@pytest.mark.parametrize("name", ["ClipLoss", "SigLipLoss", "CoCaLoss", "DistillClipLoss"])
def test_has_open_clips_attributes(name):
    pytest.importorskip("open_clip")
    from loss_cases import theirs

    arguments = (2.0, 1.0) if name == "CoCaLoss" else ()
    ours, wanted = (getattr(library, name)(*arguments) for library in (OURS, theirs()))
    for attribute, value in vars(wanted).items():
        if not attribute.startswith("_"):
            assert getattr(ours, attribute) == value, attribute
    assert dict(ours.named_modules()).keys() == dict(wanted.named_modules()).keys()


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_named_and_have_one_order(kind):
    loss, inputs = make(OURS, kind, {}), features(kind)
    plain = loss(*inputs.values())
    named = loss(**inputs, output_dict=True)
    assert tuple(named) == PARTS[kind]
    for found, expected in zip(named.values(), plain if isinstance(plain, tuple) else (plain,), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_has_no_parameters_and_no_state(kind):
    loss = make(OURS, kind, {} if kind == "siglip" else {"cache_labels": True})
    loss(*features(kind).values())
    assert list(loss.parameters()) == list(loss.buffers()) == []
    assert loss.state_dict() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_pairs_have_the_lower_loss(kind):
    inputs = features(kind)
    matched = dict(inputs)
    for name, of in (("text_features", "image_features"), ("text_degra_features", "image_degra_features")):
        if name in matched:
            matched[name] = matched[of]
    loss = make(OURS, kind, {})
    apart, together = (loss(**given, output_dict=True) for given in (inputs, matched))
    assert together["contrastive_loss"] < apart["contrastive_loss"]


def test_captions_and_degradations_are_compared_separately():
    inputs = features("daclip")
    loss, plain = make(OURS, "daclip", {}), ClipLoss()
    captions, degradations = loss(*inputs.values())
    images, texts, degraded_images, degraded_texts, scale = inputs.values()
    assert torch.equal(captions, plain(images, texts, scale))
    assert torch.equal(degradations, plain(degraded_images, degraded_texts, scale))
    assert not torch.equal(captions, degradations)


def test_a_weight_of_zero_leaves_the_contrastive_loss_out():
    loss = OURS.CoCaLoss(2.0, 0.0, pad_id=3)
    inputs = features("coca")
    inputs["image_features"] = None  # not looked at
    contrastive, caption = loss(**inputs)
    assert contrastive.item() == 0
    assert contrastive.dtype == caption.dtype
    assert caption > 0


def test_padding_does_not_count():
    inputs = features("coca")
    at = (inputs["labels"] == 3).nonzero()[0]
    changed = {**inputs, "logits": inputs["logits"].clone()}
    changed["logits"][tuple(at)] += 5
    loss = make(OURS, "coca", {})
    assert loss(**inputs)[1] != loss(**{**inputs, "logits": inputs["logits"] + inputs["logits"].roll(1, -1)})[1]
    assert torch.equal(loss(**inputs)[1], loss(**changed)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_copied(kind):
    loss, inputs = make(OURS, kind, {}), features(kind)
    torch.testing.assert_close(copy.deepcopy(loss)(*inputs.values()), loss(*inputs.values()), atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["clip", "distill", "coca"])
def test_a_bias_does_not_change_a_softmax(kind):
    inputs = features(kind)
    loss = make(OURS, kind, {})
    biased = {"logit_bias": torch.tensor(-3.0)}
    if kind == "distill":
        biased["dist_logit_bias"] = torch.tensor(4.0)
    torch.testing.assert_close(loss(**inputs, **biased, output_dict=True), loss(**inputs, output_dict=True))
