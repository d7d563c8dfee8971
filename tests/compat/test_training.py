"""open_clip_train, the training program of the open_clip_torch package, unchanged."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.parity

MAIN = "open_clip_train.main"
COMMON = (
    "--batch-size", 2, "--workers", 0, "--epochs", 1, "--warmup", 1, "--precision", "fp32", "--seed", 0,
    "--logs", "logs", "--name", "it", "--save-frequency", 1,
)  # fmt: skip
LOCKED = (
    "--lock-image", "--lock-image-unlocked-groups", 1,
    "--lock-text", "--lock-text-unlocked-layers", 1, "--lock-text-freeze-layer-norm",
)  # fmt: skip
SYNTHETIC = ("--dataset-type", "synthetic", "--train-num-samples", 4, *COMMON)


def trained(folder):
    """The state dict that a run saved, and its log."""
    checkpoint = torch.load(folder / "logs" / "it" / "checkpoints" / "epoch_1.pt", weights_only=True)
    return checkpoint["state_dict"], (folder / "logs" / "it" / "out.log").read_text()


@pytest.fixture(scope="module", autouse=True)
def _needs_it():
    pytest.importorskip("open_clip_train.main", reason="needs open_clip_torch[training]", exc_type=ImportError)


class TestOnSyntheticData:
    """All images are black and all captions are the same. The tests check that it runs, and what it must not change."""

    def test_a_resnet(self, run):
        state, log = trained(run(MAIN, *SYNTHETIC, "--model", "RN50"))
        assert "Train Epoch: 0 [4/4 (100%)]" in log
        assert "registry_plugins" not in log or "CLIP(" in log
        assert all(torch.isfinite(value).all() for value in state.values())
        assert state["visual.bn1.num_batches_tracked"] == 2  # trained, not evaluated

    def test_a_coca(self, run, weights):
        state, log = trained(
            run(MAIN, *SYNTHETIC, "--model", "little-coca", "--pretrained", weights / "little-coca.pt", "--lr", 0.01)
        )
        assert "Caption_loss:" in log
        assert "Contrastive_loss:" in log
        before = torch.load(weights / "little-coca.pt", weights_only=True)
        assert not torch.equal(state["text_decoder.text_projection"], before["text_decoder.text_projection"])

    def test_a_vit_with_a_locked_image_tower(self, run, weights):
        arguments = ("--model", "little-vit", "--pretrained", weights / "little-vit.pt", "--lr", 0.01)
        state, _ = trained(run(MAIN, *SYNTHETIC, *arguments, "--lock-image", "--grad-checkpointing"))
        before = torch.load(weights / "little-vit.pt", weights_only=True)
        visual = {name for name in before if name.startswith("visual.")}
        assert visual
        assert [name for name in before if not torch.equal(state[name], before[name]) and name in visual] == []
        assert not torch.equal(state["text_projection"], before["text_projection"])

    @pytest.mark.large
    @pytest.mark.parametrize("options", [("coca_ViT-B-32",), ("ViT-B-32", "--lock-image")])
    def test_real_sizes(self, run, options):
        _, log = trained(run(MAIN, *SYNTHETIC, "--model", *options))
        assert "Train Epoch: 0 [4/4 (100%)]" in log


class TestOnImages:
    """Three steps of stochastic gradient descent from one file lead to the same weights on both libraries.

    CoCa is trained without weight decay: in open_clip it does not name the parameters to exclude, unlike other models.
    """

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("little-vit", LOCKED),
            ("little-resnet", ("--accum-freq", 2, "--batch-size", 2, "--lr", 1e-4)),  # its gradients are large
            ("little-coca", ("--coca-caption-loss-weight", 1.5, "--coca-contrastive-loss-weight", 0.5, "--wd", 0)),
        ],
        ids=["locked vit", "resnet", "coca"],
    )
    def test_lead_to_the_same_weights(self, run, weights, images, name, options):
        arguments = (
            "--train-data", images / "captions.csv", "--csv-separator", ",", "--dataset-type", "csv", *COMMON,
            "--model", name, "--pretrained", weights / f"{name}.pt", "--opt", "timm/sgd", "--momentum", 0.9,
            "--lr", 0.05, "--batch-size", 4, "--wd", 0.1, *options,
        )  # fmt: skip
        ours, _ = trained(run(MAIN, *arguments, folder="ours"))
        theirs, _ = trained(run(MAIN, *arguments, layer=False, folder="theirs"))
        assert ours.keys() == theirs.keys()
        before = torch.load(weights / f"{name}.pt", weights_only=True)
        moved = [key for key in before if not torch.equal(ours[key], before[key])]
        assert moved == [key for key in before if not torch.equal(theirs[key], before[key])]
        assert len(moved) >= 3
        gap = max((ours[key].float() - theirs[key].float()).abs().max().item() for key in ours)
        assert gap < 2e-6
