"""image_weights= and text_weights= load one tower from a separate file."""

from __future__ import annotations

import pytest
import torch

from registry_core import CheckpointError, StateDictError


@pytest.fixture
def other(registry):
    """Return another `tiny`, whose towers are loaded."""
    torch.manual_seed(7)
    return registry.create("tiny", False)


@pytest.fixture
def written(tmp_path):
    """written(state) writes a state dict and returns its path."""

    def write(state, name="tower.pt"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


def is_of_image(name):
    return name.startswith("visual.")


@pytest.mark.parametrize("whole", [True, False])
def test_only_the_tower_is_written(registry, tiny_checkpoint, other, written, whole):
    path = written(other.state_dict() if whole else other.visual.state_dict())
    model = registry.create("tiny", tiny_checkpoint, image_weights=path)
    before, after = torch.load(tiny_checkpoint), other.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (after if is_of_image(name) else before)[name]), name
    report = registry.report(model)
    assert report.tower_files == {"image": path}
    assert report.unexpected == []
    count = sum(map(is_of_image, after))
    assert any(note.startswith(f"image tower from {path}: {count} names, torch zip") for note in report.notes)


def test_both_towers_from_files_and_the_scale_from_neither(registry, other, written):
    path = written({**other.state_dict(), "logit_scale": torch.tensor(9.0)})
    model = registry.create("tiny", False, image_weights=path, text_weights=path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]) or name == "logit_scale", name
    assert model.logit_scale != 9


def test_a_file_without_a_tensor_of_the_tower(registry, written):
    path = written({"foreign.name": torch.zeros(2)})
    with pytest.raises(
        StateDictError,
        match=r"tower\.pt holds no tensor of the text tower of tiny\. The file holds foreign\.name; the tower has "
        r"ln_final\.bias, .* and \d+ more\. Nothing was loaded\.",
    ) as caught:
        registry.create("tiny", False, text_weights=path)
    assert (caught.value.path, caught.value.name) == (path, "tiny")
    assert caught.value.unexpected == ["foreign.name"]
    assert "text_projection" in caught.value.missing
    assert not any(map(is_of_image, caught.value.missing))


def test_a_file_that_lacks_a_parameter(registry, other, written):
    state = other.visual.state_dict()
    del state["proj"]
    path = written(state)
    with pytest.raises(
        StateDictError, match=r"does not fit the image tower of tiny: \d+ tensors match, 1 are"
    ) as caught:
        registry.create("tiny", False, image_weights=path)
    assert (caught.value.path, caught.value.name, caught.value.missing) == (path, "tiny", ["visual.proj"])
    assert (caught.value.unexpected, caught.value.misshaped) == ([], {})


def test_an_unknown_tensor_in_the_file_of_a_tower(registry, other, written):
    path = written({**other.visual.state_dict(), "extra": torch.zeros(1)})
    with pytest.raises(StateDictError) as caught:
        registry.create("tiny", False, image_weights=path)
    assert (caught.value.missing, caught.value.unexpected) == ([], ["visual.extra"])


def test_a_lenient_load_keeps_the_values_that_the_file_lacks(registry, tiny_checkpoint, other, written):
    state = other.visual.state_dict()
    del state["proj"]
    model = registry.create("tiny", tiny_checkpoint, strict=False, image_weights=written(state))
    assert torch.equal(model.visual.proj, torch.load(tiny_checkpoint)["visual.proj"])
    assert torch.equal(model.visual.class_embedding, other.visual.class_embedding)
    report = registry.report(model)
    assert f"image tower: 1 of its names keep the values from file {tiny_checkpoint}: visual.proj" in report.notes
    assert report.missing == []


def test_a_file_that_cannot_be_read(registry, tmp_path):
    (tmp_path / "tower.pt").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        registry.create("tiny", False, image_weights=tmp_path / "tower.pt")
    assert caught.value.path == tmp_path / "tower.pt"
