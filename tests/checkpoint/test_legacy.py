"""Files of torch.save before torch 1.6."""

from __future__ import annotations

import pytest
import torch

from registry_core import CheckpointError


def legacy(save, contents, **options):
    return save(contents, "legacy.safetensors", _use_new_zipfile_serialization=False, **options)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch warns about protocols that it does not write
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(small, source, save, assert_holds, protocol):
    assert_holds(small.create("small", legacy(save, source.state_dict(), pickle_protocol=protocol)))


def test_a_training_checkpoint_with_its_optimiser(small, source, save, assert_holds):
    optimizer = torch.optim.AdamW(source.parameters())
    state = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    path = legacy(save, {"epoch": 1, "state_dict": state, "optimizer": optimizer.state_dict()})
    model = small.create("small", path)
    assert_holds(model)
    assert small.report(model).notes[:2] == ["found under 'state_dict'", "`module.` stripped"]


def test_half_precision_is_cast(small, source, save):
    model = small.create("small", legacy(save, source.half().state_dict()))
    assert set(small.report(model).cast) == {"float16 -> float32"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_views_of_one_storage_get_their_own_memory(small, source, save, state):
    state["ln_final.weight"], state["ln_final.bias"] = torch.arange(64.0).reshape(2, 32)
    state["text_projection"] = torch.arange(512.0).reshape(16, 32).T
    model = small.create("small", legacy(save, state))
    assert torch.equal(model.text_projection, state["text_projection"])
    assert model.text_projection.is_contiguous()
    with torch.no_grad():
        model.ln_final.weight.zero_()
    assert torch.equal(model.ln_final.bias, torch.arange(32.0, 64.0))


def test_cut_anywhere(small, source, save):
    path = legacy(save, source.state_dict())
    whole = path.read_bytes()
    for keep in (30, 200, 3000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError) as caught:
            small.create("small", path)
        assert caught.value.path == path
