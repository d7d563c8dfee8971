"""The image tower stays one module under two names, whatever copies the model."""

from __future__ import annotations

import copy
import io
import pickle

import torch


def reloaded_whole(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def assert_one_tower(model):
    assert model.visual is model.clip.visual
    assert model.visual.proj is model.clip.visual.proj
    state = model.state_dict(keep_vars=True)
    under_visual = {name.removeprefix("visual.") for name in state if name.startswith("visual.")}
    under_clip = {name.removeprefix("clip.visual.") for name in state if name.startswith("clip.visual.")}
    assert under_visual == under_clip
    assert under_visual
    for name in under_visual:
        assert state[f"visual.{name}"] is state[f"clip.visual.{name}"]


def assert_same_outputs(model, other, image):
    with torch.no_grad():
        torch.testing.assert_close(
            other.encode_image(image, control=True), model.encode_image(image, control=True), atol=0, rtol=0
        )


def test_a_created_model_has_one_image_tower(full, base):
    assert_one_tower(full)
    assert_one_tower(base)


def test_deepcopy_keeps_the_alias_and_shares_nothing_with_the_source(full, image):
    twin = copy.deepcopy(full)
    assert_one_tower(twin)
    assert_same_outputs(full, twin, image)
    with torch.no_grad():
        twin.visual.proj.zero_()
    assert full.visual.proj.any()


def test_pickle_keeps_the_alias(full, image):
    twin = pickle.loads(pickle.dumps(full))
    assert_one_tower(twin)
    assert_same_outputs(full, twin, image)


def test_saving_the_whole_module_keeps_the_alias(full, image):
    twin = reloaded_whole(full)
    assert_one_tower(twin)
    assert_same_outputs(full, twin, image)


def test_a_state_dict_round_trip_keeps_the_alias(full, registry, tmp_path, image):
    twin = registry.create("daclip_tiny", False)
    twin.load_state_dict(full.state_dict())
    assert_one_tower(twin)
    assert_same_outputs(full, twin, image)
    torch.save(full.state_dict(), tmp_path / "again.pt")
    again = registry.create("daclip_tiny", tmp_path / "again.pt")
    assert_one_tower(again)
    assert_same_outputs(full, again, image)


def test_moving_to_another_dtype_keeps_the_alias(full):
    assert_one_tower(full.to(torch.float64))


def test_the_report_goes_with_copies(full, registry):
    assert registry.report(copy.deepcopy(full)).name == "daclip_tiny"
    assert registry.report(pickle.loads(pickle.dumps(full))).name == "daclip_tiny"
