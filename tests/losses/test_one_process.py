"""The losses in one process: against open_clip's, and what they say of mistakes."""

from __future__ import annotations

import copy

import pytest
import torch
from loss_cases import CASES, EXCHANGES, GATHERINGS, KINDS, OURS, features, make, run

from registry_core import InputError
from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss

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
def test_arguments_come_in_open_clips_order(name):
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
        assert changed <= {"logit_bias"}  # may be left out where open_clip wants one
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
def test_parts_are_named_and_come_in_one_order(kind):
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


def test_captions_and_degradations_are_compared_apart():
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


def test_padding_is_never_told():
    inputs = features("coca")
    at = (inputs["labels"] == 3).nonzero()[0]
    changed = {**inputs, "logits": inputs["logits"].clone()}
    changed["logits"][tuple(at)] += 5
    loss = make(OURS, "coca", {})
    assert loss(**inputs)[1] != loss(**{**inputs, "logits": inputs["logits"] + inputs["logits"].roll(1, -1)})[1]
    assert torch.equal(loss(**inputs)[1], loss(**changed)[1])


@pytest.mark.parametrize("kind", ["clip", "distill", "coca"])
def test_a_bias_changes_nothing_in_a_softmax(kind):
    inputs = features(kind)
    loss = make(OURS, kind, {})
    biased = {"logit_bias": torch.tensor(-3.0)}
    if kind == "distill":
        biased["dist_logit_bias"] = torch.tensor(4.0)
    torch.testing.assert_close(loss(**inputs, **biased, output_dict=True), loss(**inputs, output_dict=True))


def test_the_sigmoid_loss_does_without_a_bias():
    images, texts, scale, _ = features("siglip").values()
    assert torch.equal(SigLipLoss()(images, texts, scale), SigLipLoss()(images, texts, scale, torch.tensor(0.0)))


class TestLabels:
    def test_are_kept_for_batches_of_one_size(self):
        loss = ClipLoss(cache_labels=True)
        first = loss.get_ground_truth(torch.device("cpu"), 4)
        assert loss.get_ground_truth(torch.device("cpu"), 4) is first
        assert loss.prev_num_logits == 4
        assert loss.get_ground_truth(torch.device("cpu"), 6).tolist() == list(range(6))
        assert loss.prev_num_logits == 6

    def test_are_made_anew_without_a_cache(self):
        loss = ClipLoss()
        loss.get_ground_truth(torch.device("cpu"), 4)
        assert (loss.labels, loss.prev_num_logits) == ({}, 0)

    def test_of_one_device_do_not_serve_another_size_on_another(self):
        loss = ClipLoss(cache_labels=True)
        sizes = [("cpu", 4), ("meta", 4), ("meta", 6), ("cpu", 6)]
        assert [len(loss.get_ground_truth(torch.device(device), size)) for device, size in sizes] == [4, 4, 6, 6]

    def test_that_were_made_in_inference_mode_serve_training(self):
        loss, inputs = ClipLoss(cache_labels=True), features("clip")
        with torch.inference_mode():
            loss(**inputs)
        assert run(loss, inputs)["gradients"]["image_features"].any()

    def test_begin_at_the_processs_own_rows(self):
        loss = ClipLoss(local_loss=True, rank=2, world_size=3)
        assert loss.get_ground_truth(torch.device("cpu"), 4).tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_copied(kind):
    loss, inputs = make(OURS, kind, {}), features(kind)
    torch.testing.assert_close(copy.deepcopy(loss)(*inputs.values()), loss(*inputs.values()), atol=0, rtol=0)


class TestMistakes:
    @pytest.mark.parametrize("name", ["ClipLoss", "DistillClipLoss", "DaClipLoss"])
    def test_horovod(self, name):
        with pytest.raises(InputError, match=r"use_horovod=True: Horovod is no longer maintained.*torchrun"):
            getattr(OURS, name)(use_horovod=True)

    @pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0), (1, 1)])
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_rank_that_is_out_of_range(self, kind, rank, world_size):
        with pytest.raises(InputError, match=rf"rank={rank} and world_size={world_size} do not go together.*get_rank"):
            make(OURS, kind, {}, rank, world_size)

    def test_an_unknown_exchange(self):
        with pytest.raises(InputError, match=r"dist_impl='gathr' is unknown\. Did you mean gather\?.*bidir, shift"):
            SigLipLoss(dist_impl="gathr")

    def test_no_exchange_is_the_first(self):
        assert SigLipLoss().dist_impl == SigLipLoss(dist_impl=None).dist_impl == "bidir"

    @pytest.mark.parametrize(
        ("kind", "options"), [*(("clip", each) for each in GATHERINGS), *(("siglip", each) for each in EXCHANGES)]
    )
    def test_several_processes_without_a_group(self, kind, options):
        loss = make(OURS, kind, options, 0, 2)
        with pytest.raises(
            InputError, match=r"for world_size=2 processes, and there is no process group.*init_process"
        ):
            loss(*features(kind).values())

    @pytest.mark.parametrize("kind", KINDS)
    def test_batches_of_different_length(self, kind):
        inputs = features(kind)
        inputs["text_features"] = inputs["text_features"][:3]
        with pytest.raises(InputError, match=r"one shape \[N, E\], got \[4, 8\] for pictures and \[3, 8\] for texts"):
            make(OURS, kind, {})(**inputs)

    def test_a_teacher_with_another_batch(self):
        inputs = features("distill")
        for name in ("dist_image_features", "dist_text_features"):
            inputs[name] = inputs[name][:2]
        with pytest.raises(InputError, match=r"teacher's batch has 2 rows.*student's 4"):
            DistillClipLoss()(**inputs)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("side", ["image_features", "text_features"])
    def test_features_that_are_not_there(self, kind, side):
        with pytest.raises(InputError, match="the features of one side are None"):
            make(OURS, kind, {})(**{**features(kind), side: None})
