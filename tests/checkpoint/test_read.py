"""Read bytes into tensors. Each tensor has its own memory, which later changes of the file do not affect."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from registry_core import CheckpointError
from registry_core.checkpoint import read
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import LazyTensor, Stored
from registry_core.checkpoint.stored import stored_tensor

MAPPINGS, OPEN_FILES = Path("/proc/self/maps"), Path("/proc/self/fd")
FORMATS = ["torch", "safetensors", "legacy", "training", "script", "npz"]
WAYS = {
    "whole": {},
    "mapped": {"mmap": True},
    "half": {"precision": "fp16"},
    "pure half": {"precision": "pure_bf16"},
    "image": {"tower": "image"},
    "text": {"tower": "text"},
    "image mapped": {"tower": "image", "mmap": True},
    "resized": {"image_size": 48, "mmap": True},
}


def owners(model):
    """Return each distinct tensor of a model; aliases count once."""
    return {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}.values()


def extents(model):
    return sorted(
        (storage.data_ptr(), storage.data_ptr() + storage.nbytes())
        for storage in (tensor.untyped_storage() for tensor in owners(model))
        if storage.nbytes()
    )


class TestMemoryOfTheirOwn:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", FORMATS)
    def test_no_two_parameters_share_a_byte(self, small, write, kind, way):
        model = small.create("small", write(kind), **WAYS[way])
        for tensor in owners(model):
            assert tensor.device.type == "cpu"
            assert torch.isfinite(tensor).all()
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            assert tensor.is_contiguous()
            assert tensor.data_ptr() % tensor.element_size() == 0
        for (_, end), (begin, _) in itertools.pairwise(extents(model)):
            assert end <= begin

    @pytest.mark.parametrize("kind", FORMATS)
    def test_tensors_have_the_alignment_of_torchs_own_memory(self, small, write, kind):
        """At other addresses kernels sum in another order, and results would depend on the offsets in the file."""
        for tensor in owners(small.create("small", write(kind))):
            assert tensor.data_ptr() % 64 == 0

    @pytest.mark.parametrize("way", ["whole", "mapped", "half"])
    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_change_of_one_changes_no_other(self, small, write, kind, way):
        model = small.create("small", write(kind), **WAYS[way])
        for changed in ("visual.proj", "logit_scale", "token_embedding.weight"):
            before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            optimizer = torch.optim.SGD([model.get_parameter(changed)], lr=0.5)
            model.get_parameter(changed).grad = torch.ones_like(model.get_parameter(changed))
            optimizer.step()
            after = model.state_dict()
            assert {name for name in before if not torch.equal(before[name], after[name])} == {changed}

    @pytest.mark.parametrize("way", ["whole", "mapped"])
    @pytest.mark.parametrize("kind", FORMATS)
    def test_saving_one_writes_only_that_one(self, small, write, kind, way):
        model = small.create("small", write(kind), **WAYS[way])
        for parameter in (model.visual.proj, model.logit_scale):
            stream = io.BytesIO()
            torch.save(parameter.detach(), stream)
            assert stream.tell() < parameter.numel() * 4 + 3000

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("mapped", [True, False])
    @pytest.mark.parametrize(
        "make",
        [
            lambda weight: (weight, weight),
            lambda weight: (weight, weight.view(-1).view(32)),
            lambda weight: (weight, torch.ones(64)[::2]),
            lambda _: torch.arange(64.0).reshape(2, 32).unbind(),
            lambda _: torch.arange(64.0).reshape(32, 2).unbind(1),
            lambda _: (torch.arange(40.0)[:32], torch.arange(40.0)[8:]),
            lambda _: (torch.ones(1).expand(32), torch.ones(1).expand(32)),
        ],
        ids=["one tensor", "a view", "strided", "halves", "interleaved", "overlapping", "expanded"],
    )
    def test_of_names_that_share_a_storage_in_the_file(self, small, state, save, make, mapped, zipped):  # noqa: PLR0917
        first, second = make(state["ln_final.weight"])
        names = ("ln_final.weight", "visual.ln_post.weight")
        path = save({**state, **dict(zip(names, (first, second), strict=True))}, _use_new_zipfile_serialization=zipped)
        model = small.create("small", path, mmap=mapped)
        assert torch.equal(model.ln_final.weight, first)
        assert torch.equal(model.visual.ln_post.weight, second)
        with torch.no_grad():
            model.ln_final.weight.fill_(7)
        assert torch.equal(model.visual.ln_post.weight, second)
        assert model.ln_final.weight.untyped_storage().nbytes() == 32 * 4

    def test_aliases_of_the_model_stay_one(self, small, save):
        path = save(small.create("daclip_small", False).state_dict())
        for mapped in (False, True):
            model = small.create("daclip_small", path, mmap=mapped)
            assert model.visual is model.clip.visual
            with torch.no_grad():
                model.visual.proj.fill_(2)
            assert (model.clip.visual.proj == 2).all()
            for (_, end), (begin, _) in itertools.pairwise(extents(model)):
                assert end <= begin

    @pytest.mark.parametrize("shift", [1, 2, 3])
    @pytest.mark.parametrize("mapped", [True, False])
    def test_elements_at_odd_offsets_are_aligned(self, tmp_path, shift, mapped):
        values = torch.arange(8, dtype=torch.float32)
        (tmp_path / "x").write_bytes(bytes(shift) + values.numpy().tobytes())
        with CheckpointFile(tmp_path / "x") as file:
            lazy = stored_tensor(file, "float32", (8,), shift, 32)
            first = LazyTensor("uint8", (shift,), lambda: None, Stored(0, shift, file))
            found = (read.read_mapped if mapped else read.read_private)(file, [lazy, first])[0]
        assert torch.equal(found, values)
        assert found.data_ptr() % 4 == 0


class TestBulkReads:
    def test_in_many_chunks_across_holes(self, tmp_path, monkeypatch):
        """With small chunks and gaps, a file of some kilobytes is read through the same code paths as a large one."""
        monkeypatch.setattr(read, "_CHUNK", 1000)
        monkeypatch.setattr(read, "_GAP", 64)
        data = torch.randint(0, 256, (20_000,), dtype=torch.uint8)
        (tmp_path / "x").write_bytes(data.numpy().tobytes())
        spans = [(40, 3000), (3001, 10), (3100, 4096), (9000, 1), (12_000, 7999), (0, 8)]
        with CheckpointFile(tmp_path / "x") as file:
            lazies = [stored_tensor(file, "uint8", (size,), offset, size) for offset, size in spans]
            for found, (offset, size) in zip(read.read_private(file, lazies), spans, strict=True):
                assert torch.equal(found, data[offset : offset + size])

    @pytest.mark.parametrize("reader", [read.read_private, read.read_mapped])
    def test_of_nothing_but_empty_tensors(self, tmp_path, reader):
        (tmp_path / "x").write_bytes(b"1234")
        with CheckpointFile(tmp_path / "x") as file:
            found = reader(file, [stored_tensor(file, "float32", (0, 3), 4, 0)])
        assert found[0].shape == (0, 3)

    @pytest.mark.skipif(not hasattr(os, "preadv"), reason="only the other way exists on this system")
    def test_without_preadv(self, small, write, assert_holds, monkeypatch):
        monkeypatch.delattr(os, "preadv")
        assert_holds(small.create("small", write("safetensors")))

    @pytest.mark.parametrize("bulk", [True, False])
    def test_of_a_file_that_shrinks_meanwhile(self, tmp_path, bulk):
        path = tmp_path / "x"
        path.write_bytes(bytes(100_000))
        with CheckpointFile(path) as file:
            lazy = stored_tensor(file, "uint8", (100_000,), 0, 100_000)
            os.truncate(path, 50_000)
            with pytest.raises(CheckpointError) as caught:
                read.read_private(file, [lazy]) if bulk else lazy.load()
        assert (caught.value.path, caught.value.expected, caught.value.found) == (path, 100_000, 50_000)


SURVIVOR = """
import json, os, sys, torch
from pathlib import Path
from registry_core import Registry
registry = Registry()
registry.add_config(json.loads(sys.argv[1]), "small")
image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
text = torch.randint(1, 59, (2, 16), generator=torch.Generator().manual_seed(0))
for case in sys.argv[2:]:
    path, fate, precision = case.split(":")
    print(case, flush=True)
    model = registry.create("small", path, precision=precision)
    image = image.to(model.visual.conv1.weight.dtype)
    with torch.no_grad():
        before = [part.clone() for part in model(image, text)]
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if fate == "truncated":
            os.truncate(path, 0)
        elif fate == "overwritten":
            Path(path).write_bytes(b"\\xff" * Path(path).stat().st_size)
        else:
            Path(path).unlink()
        assert all(map(torch.equal, before, model(image, text)))
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
print("alive")
"""
FATES = [
    *itertools.product(["torch", "safetensors"], ["truncated", "overwritten", "deleted"], ["fp32"]),
    *itertools.product(["legacy", "script", "npz"], ["truncated"], ["fp32"]),
    *itertools.product(["torch", "safetensors"], ["truncated"], ["bf16"]),
]


class TestTheFileAfterwards:
    def test_may_be_changed_or_deleted(self, small, write):
        """In a separate process, so that a SIGBUS fails this test instead of ending all tests."""
        cases = [
            f"{write(kind, str(number))}:{fate}:{precision}" for number, (kind, fate, precision) in enumerate(FATES)
        ]
        done = subprocess.run(
            [sys.executable, "-P", "-c", SURVIVOR, json.dumps(small.config("small").raw()), *cases],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stdout.split(), done.stderr) == (0, [*cases, "alive"], "")

    @pytest.mark.parametrize("kind", FORMATS)
    def test_is_unchanged_when_a_mapped_model_changes(self, small, write, kind):
        path = write(kind)
        before = path.read_bytes()
        model = small.create("small", path, mmap=True)
        with torch.no_grad():
            for tensor in owners(model):
                tensor.fill_(1)
        assert path.read_bytes() == before

    @pytest.mark.skipif(not MAPPINGS.exists(), reason="no list of mappings on this system")
    def test_is_mapped_only_on_request(self, small, write):
        paths = write("safetensors", "private"), write("safetensors", "mapped")
        models = [small.create("small", path, mmap=mmapped) for path, mmapped in zip(paths, (False, True), strict=True)]
        assert [str(path) in MAPPINGS.read_text() for path in paths] == [False, True]
        assert [small.report(model).mapped for model in models] == [False, True]

    @pytest.mark.skipif(not MAPPINGS.exists(), reason="no list of open files on this system")
    @pytest.mark.parametrize("kind", FORMATS)
    def test_is_closed(self, small, write, kind):
        path = write(kind)
        small.create("small", path)
        assert path not in [link.readlink() for link in OPEN_FILES.iterdir() if link.is_symlink()]


FORK = """
import json, os, sys, torch
from registry_core import Registry
registry = Registry()
registry.add_config(json.loads(sys.argv[1]), "small")
model = registry.create("small", sys.argv[2], mmap=sys.argv[3] == "mapped")
before = [parameter.detach().clone() for parameter in model.parameters()]
child = os.fork()
if child == 0:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert all(map(torch.equal, before, model.parameters()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("way", ["private", "mapped"])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_forked_child_does_not_write_its_parents_parameters(small, write, kind, way):
    """Workers of data loaders are forks. If they shared memory with the parent, they could change its model."""
    config = json.dumps(small.config("small").raw())
    done = subprocess.run(
        [sys.executable, "-P", "-c", FORK, config, str(write(kind)), way],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
