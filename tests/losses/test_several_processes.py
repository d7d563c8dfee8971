"""The losses in several processes, compared with open_clip's, and with one process that has the joined batch.

W is the number of processes. DistributedDataParallel divides the sum of their gradients by W. Its result equals the
gradients of one process if the features of each process have W times the gradient that they have in one process.
"""

from __future__ import annotations

import pytest
import torch
from loss_cases import CASES, EXCHANGES, OURS, SHARED, features, make, part, run, total
from loss_models import TEXTS, batch, create, gradients, registry

WORLDS = {"two": 2, "three": 3, "four": 4}
EACH_WORLD = pytest.mark.parametrize("world", ["two", "three", pytest.param("four", marks=pytest.mark.large)])
EXACT = {"atol": 1e-11, "rtol": 1e-9}  # in float64: only the order of sums differs


def results(request, world, library, kind, options):
    return [found[library, kind, *options.values()] for found in request.getfixturevalue(world)]


@pytest.mark.parity
@EACH_WORLD
@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_equals_open_clips(request, world, kind, options):
    pytest.importorskip("open_clip")
    ours, theirs = (results(request, world, library, kind, options) for library in ("ours", "theirs"))
    torch.testing.assert_close(ours, theirs, **EXACT)


@EACH_WORLD
@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
class TestComparedWithTheJoinedBatch:
    def test_the_loss(self, request, world, kind, options):
        """Their mean is the loss of the joined batch. Without `local_loss` each contrastive loss equals it."""
        found = results(request, world, "ours", kind, options)
        joined = run(make(OURS, kind, {}), features(kind, WORLDS[world]))
        torch.testing.assert_close(sum(map(total, found)) / WORLDS[world], total(joined), **EXACT)
        if options.get("local_loss") is False and kind != "coca":
            for each in found:
                torch.testing.assert_close(each["outputs"], joined["outputs"], **EXACT)

    def test_scale_and_bias(self, request, world, kind, options):
        """Their gradients are the mean over the processes, for all options."""
        found = results(request, world, "ours", kind, options)
        joined = run(make(OURS, kind, {}), features(kind, WORLDS[world]))["gradients"]
        for name in set(SHARED) & joined.keys():
            mean = sum(each["gradients"][name] for each in found) / WORLDS[world]
            torch.testing.assert_close(mean, joined[name], **EXACT, msg=name)

    def test_features(self, request, world, kind, options):
        """W times the gradient with `gather_with_grad`, once without it, and less with `local_loss` alone."""
        found = results(request, world, "ours", kind, options)
        joined = run(make(OURS, kind, {}), features(kind, WORLDS[world]))["gradients"]
        flows = options.get("gather_with_grad", True)
        for rank, each in enumerate(found):
            expected = part(joined, rank, WORLDS[world])
            for name in joined.keys() - set(SHARED):
                # The decoder's logits are not compared with those of other processes.
                times = WORLDS[world] if flows or name == "logits" else 1
                if not flows and options["local_loss"] and name != "logits":
                    assert not torch.allclose(each["gradients"][name], expected[name], rtol=0.05)
                    assert not torch.allclose(each["gradients"][name], WORLDS[world] * expected[name], rtol=0.05)
                else:
                    torch.testing.assert_close(each["gradients"][name], times * expected[name], **EXACT, msg=name)


@pytest.fixture(scope="module")
def joined():
    """Gradients of each tiny model in this process alone, with the joined batch of two processes."""
    everything = registry()
    found = {}
    for kind in TEXTS:
        model = create(everything, kind)
        found[kind] = gradients(model, everything.loss(model), *batch(kind, 2))
    return found


SETTINGS = {
    "exact": {"gather_with_grad": True, "local_loss": False},
    "exact, local": {"gather_with_grad": True, "local_loss": True},
    "halved": {"gather_with_grad": False, "local_loss": False},
    "in part": {"gather_with_grad": False, "local_loss": True},
}


class TestUnderDistributedDataParallel:
    """Parameters of whole models, with the loss that the registry returns for them."""

    @pytest.mark.parametrize("setting", ["exact", "exact, local"])
    @pytest.mark.parametrize("kind", ["clip", "coca", "daclip"])
    def test_equals_one_process_with_the_joined_batch(self, two, joined, kind, setting):
        self.check(two, joined, kind, SETTINGS[setting])

    @pytest.mark.parametrize("options", EXCHANGES, ids=str)
    def test_the_sigmoid_loss_equals_one_process_with_the_joined_batch(self, two, joined, options):
        self.check(two, joined, "siglip", options)

    def check(self, two, joined, kind, options):
        for found in two:
            ours = found["ddp", kind, *(options[name] for name in sorted(options, reverse=True))]
            torch.testing.assert_close(ours, joined[kind], **EXACT)

    @pytest.mark.parametrize("kind", ["clip", "daclip"])
    def test_without_gather_with_grad_the_gradients_are_half(self, two, joined, kind):
        for found in two:
            ours = found["ddp", kind, False, False]
            expected = {name: value if name == "logit_scale" else value / 2 for name, value in joined[kind].items()}
            torch.testing.assert_close(ours, expected, **EXACT)

    @pytest.mark.parametrize("kind", ["clip", "daclip", "coca"])
    def test_with_local_loss_alone_a_part_of_the_gradient_is_missing(self, two, joined, kind):
        for found in two:
            ours = found["ddp", kind, True, False]
            torch.testing.assert_close(ours["logit_scale"], joined[kind]["logit_scale"], **EXACT)
            differing = [name for name in ours if not torch.allclose(ours[name], joined[kind][name], rtol=0.05)]
            assert len(differing) > len(ours) / 2

    def test_all_processes_have_the_same_gradients(self, two):
        for name in (name for name in two[0] if name[0] == "ddp"):
            torch.testing.assert_close(two[0][name], two[1][name], atol=0, rtol=0)


def test_captions_of_different_length_are_averaged_by_process(two):
    """One process averages over tokens instead. open_clip does the same."""
    inputs = features("coca", 2)
    inputs["labels"][:4, 1:] = 3
    loss = make(OURS, "coca", {})
    alone = [loss(**part(inputs, rank, 2), output_dict=True)["caption_loss"] for rank in range(2)]
    torch.testing.assert_close([found["uneven"]["outputs"][1] for found in two], alone, **EXACT)
    assert abs(sum(alone) / 2 - loss(**inputs, output_dict=True)["caption_loss"]) > 0.01


@EACH_WORLD
@pytest.mark.parametrize(
    ("kind", "options"), [("clip", {"gather_with_grad": True}), *(("siglip", each) for each in EXCHANGES)], ids=str
)
def test_gradients_have_gradients(request, world, kind, options):
    size = WORLDS[world]
    leaves = {name: value.clone().requires_grad_() for name, value in features(kind, size).items()}
    loss = size * make(OURS, kind, {})(*leaves.values())  # the sum over the processes
    (first,) = torch.autograd.grad(loss, leaves["text_features"], create_graph=True)
    (expected,) = torch.autograd.grad(first.square().sum(), leaves["text_features"])
    found = [each["second", kind, *options.values()] for each in request.getfixturevalue(world)]
    torch.testing.assert_close(torch.cat(found), expected, **EXACT)


def test_a_rank_that_differs_from_that_of_the_loss_is_an_error(two):
    for rank, found in enumerate(two):
        assert f"for rank {1 - rank} of 2 processes, and this process is rank {rank} of 2" in found["mistaken rank"]
