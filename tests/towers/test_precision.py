"""Which parameters each precision casts, and that the cast model still computes."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from registry_core import OverrideError
from registry_core.towers.precision import PRECISIONS, apply_precision

MIXED = {"fp16": torch.float16, "bf16": torch.bfloat16}
PURE = {"pure_fp16": torch.float16, "pure_bf16": torch.bfloat16}
FULL = ("fp32", "amp", "amp_bf16", "amp_bfloat16")


def dtypes(model):
    return {name: tensor.dtype for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def kept_in_mixed(name):
    """Norms, embeddings and scalars stay float32."""
    parts = name.split(".")
    return (
        any(part.startswith(("ln_", "bn")) for part in parts)
        or parts[-1] in {"class_embedding", "positional_embedding", "logit_scale"}
        or "token_embedding" in parts
        or parts[-3:-1] == ["downsample", "1"]
    )


def test_the_names():
    assert set(PRECISIONS) == {*FULL, *MIXED, *PURE}


@pytest.mark.parametrize("given", ["fp8", "float16", "FP16", "", "bf 16"])
def test_an_unknown_name_is_refused_before_anything_is_built(registry, given):
    with pytest.raises(OverrideError) as caught:
        registry.create("tiny", pretrained=False, precision=given)
    assert (caught.value.argument, caught.value.found) == ("precision", given)
    assert caught.value.expected == PRECISIONS


def test_a_similar_name_is_suggested(registry):
    expected = r"^precision='pf16' is unknown\. Did you mean fp16.* Expected one of fp32, .*Nothing was built\.$"
    with pytest.raises(OverrideError, match=expected) as caught:
        registry.create("tiny", pretrained=False, precision="pf16")
    assert caught.value.suggestions[0] == "fp16"


@pytest.mark.parametrize("name", ["tiny", "tiny-rn", "daclip_tiny"])
class TestDtypes:
    @pytest.mark.parametrize("precision", FULL)
    def test_full(self, registry, name, precision):
        assert set(dtypes(registry.create(name, False, precision=precision)).values()) == {torch.float32}

    @pytest.mark.parametrize("precision", PURE)
    def test_pure(self, registry, name, precision):
        model = registry.create(name, False, precision=precision)
        assert set(dtypes(model).values()) == {PURE[precision]}
        assert all(b.dtype == PURE[precision] for b in model.buffers() if b.is_floating_point())

    @pytest.mark.parametrize("precision", MIXED)
    def test_mixed(self, registry, name, precision):
        found = dtypes(registry.create(name, False, precision=precision))
        assert {key for key, dtype in found.items() if dtype == torch.float32} == set(filter(kept_in_mixed, found))
        assert set(found.values()) == {torch.float32, MIXED[precision]}

    @pytest.mark.parametrize("precision", ["fp16", "pure_bf16"])
    def test_are_the_same_for_a_shell_and_for_a_file(self, registry, tmp_path, name, precision):
        model = registry.create(name, False)
        torch.save(model.state_dict(), tmp_path / "x.pt")
        expected = dtypes(registry.create(name, False, precision=precision))
        assert dtypes(registry.create(name, precision=precision, device="meta")) == expected
        read = registry.create(name, tmp_path / "x.pt", precision=precision)
        assert dtypes(read) == expected
        for key, tensor in read.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[key].to(tensor.dtype)), key


@pytest.mark.parametrize("precision", [*MIXED, *PURE])
@pytest.mark.parametrize("name", ["tiny", "tiny-rn"])
def test_outputs_are_finite_and_close(registry, tmp_path, name, precision):
    torch.manual_seed(0)
    exact = registry.create(name, False)
    torch.save(exact.state_dict(), tmp_path / "x.pt")
    model = registry.create(name, tmp_path / "x.pt", precision=precision)
    dtype = {**MIXED, **PURE}[precision]
    image = torch.rand(2, 3, 64, 64)
    text = torch.randint(1, 599, (2, exact.context_length))
    with torch.no_grad():
        for got, expected in (
            (model.encode_image(image.to(dtype), normalize=True), exact.encode_image(image, normalize=True)),
            (model.encode_text(text, normalize=True), exact.encode_text(text, normalize=True)),
        ):
            assert got.dtype == dtype
            assert torch.isfinite(got).all()
            assert torch.nn.functional.cosine_similarity(got.float(), expected).min() > 0.99


@pytest.mark.parametrize("precision", PRECISIONS)
def test_parameters_keep_their_identity(registry, precision):
    """An optimiser may have them already."""
    model = registry.create("daclip_tiny", False)
    before = dict(model.named_parameters(remove_duplicate=False))
    apply_precision(model, precision)
    assert all(parameter is before[name] for name, parameter in model.named_parameters(remove_duplicate=False))
    assert model.visual is model.clip.visual


def test_a_module_may_list_further_parameters_to_cast():
    class Own(nn.Module):
        low_precision_parameters = ("gain", "absent")

        def __init__(self):
            super().__init__()
            self.gain, self.offset = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
            self.absent = None
            self.register_buffer("table", torch.ones(2))

    model = Own()
    apply_precision(model, "bf16")
    assert dtypes(model) == {"gain": torch.bfloat16, "offset": torch.float32, "table": torch.float32}


def test_integers_and_booleans_are_never_cast():
    model = nn.BatchNorm1d(3)
    model.register_buffer("mask", torch.ones(2, dtype=torch.bool))
    apply_precision(model, "pure_fp16")
    assert (model.num_batches_tracked.dtype, model.mask.dtype) == (torch.int64, torch.bool)
    assert model.running_mean.dtype == torch.float16


@pytest.mark.parity
@pytest.mark.parametrize("precision", ["fp16", "pure_bf16"])
@pytest.mark.parametrize("name", ["ViT-S-32-alt", "RN50"])
def test_dtypes_are_open_clips(registry, name, precision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # open_clip warns at import, and since no weights are given
        open_clip = pytest.importorskip("open_clip")
        theirs = dtypes(open_clip.create_model(name, precision=precision))
    assert dtypes(registry.create(name, precision=precision, device="meta")) == theirs
