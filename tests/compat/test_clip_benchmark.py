"""CLIP_benchmark (https://github.com/LAION-AI/CLIP_benchmark), unchanged: a model from a path, on a webdataset."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
import torch

pytestmark = pytest.mark.parity

CLASSES = ("cat", "dog", "tree")


@pytest.fixture(scope="module", autouse=True)
def _needs_it():
    pytest.importorskip("clip_benchmark", reason="needs clip-benchmark")


@pytest.fixture(scope="module")
def webdataset(images, tmp_path_factory):
    """The images in the webdataset format of CLIP_benchmark."""
    folder = tmp_path_factory.mktemp("webdataset")
    (folder / "test").mkdir()
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for number, name in enumerate(CLASSES):
            for path in sorted((images / name).glob("*.png")):
                label = str(number).encode()
                tar.add(path, f"{name}{path.stem}.png")
                entry = tarfile.TarInfo(f"{name}{path.stem}.cls")
                entry.size = len(label)
                tar.addfile(entry, io.BytesIO(label))
    (folder / "test" / "nshards.txt").write_text("1")
    (folder / "classnames.txt").write_text("\n".join(CLASSES))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\nthe {c}.")
    return folder


@pytest.mark.parametrize("name", ["little-vit", "little-coca"])
def test_gives_the_same_results_as_on_open_clip(run, weights, webdataset, name):
    arguments = (
        "eval", "--model", name, "--pretrained", weights / f"{name}.pt", "--dataset", "wds/toy",
        "--dataset_root", webdataset, "--task", "zeroshot_classification", "--output", "out.json", "--num_workers", 0,
        "--batch_size", 4, "--no_amp", "--save_clf", "classifier.pt",
    )  # fmt: skip
    figures, classifiers = [], []
    for layer in (True, False):
        folder = run("clip_benchmark.cli", *arguments, layer=layer, folder=str(layer))
        figures.append(json.loads((folder / "out.json").read_text()))
        classifiers.append(torch.load(folder / "classifier.pt", weights_only=True))
    ours, theirs = figures
    assert ours == theirs
    assert ours["model"] == name
    assert set(ours["metrics"]) == {"acc1", "acc5", "mean_per_class_recall"}
    torch.testing.assert_close(*classifiers, atol=1e-6, rtol=1e-5)
    assert classifiers[0].shape[1] == len(CLASSES)
