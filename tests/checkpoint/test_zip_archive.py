"""Zip archives of torch.save and of TorchScript, read as data."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch
from torch import nn

from registry_core import CheckpointError
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index


def index_of(path):
    with CheckpointFile(path) as file:
        index = read_index(file)
        return index, {name: lazy.load() for name, lazy in index.tensors.items()}


class Half(nn.Module):
    """Parameters, buffers of both kinds, and plain tensors on two levels, one of them in a scripted method."""

    def __init__(self, inner=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("mean", torch.randn(3))
        self.register_buffer("hidden", torch.randn(2), persistent=False)
        self.mask = torch.randn(5)
        self.scale = 2.0
        self.name = "half"
        self.sizes = [1, 2]
        self.inner = nn.Identity() if inner is None else inner

    def forward(self, x):
        return self.inner(x) + self.mask.sum() * self.weight.sum() * self.scale


def scripted(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


def traced(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, torch.ones(1, 4, dtype=module.weight.dtype), check_trace=False).save(str(path))
    return path


class TestTorchScript:
    @pytest.mark.parametrize("archive", [scripted, traced])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_state_is_parameters_and_buffers(self, tmp_path, archive, dtype):
        module = Half(Half(nn.Linear(4, 4))).to(dtype)
        index, found = index_of(archive(module, tmp_path / "x.pt"))
        assert index.format == "TorchScript archive, read as data"
        # The archive does not distinguish persistent from other buffers. Plain tensors are not part of the state.
        expected = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        assert found.keys() == expected.keys()
        assert not any(name.endswith("mask") for name in found)
        for name, tensor in expected.items():
            assert found[name].dtype == dtype
            assert torch.equal(found[name], tensor)

    def test_state_is_the_same_as_torchs_own(self, tmp_path):
        path = scripted(Half(), tmp_path / "x.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = torch.jit.load(str(path)).state_dict()
        assert index_of(path)[1].keys() == theirs.keys()

    def test_openai_archive_loads_whole(self, small, write, assert_holds):
        path = write("script")
        names = index_of(path)[1]
        assert {"input_resolution", "context_length", "vocab_size"} <= names.keys()
        assert "attn_mask" not in names
        model = small.create("small", path)
        assert_holds(model)
        assert small.report(model).unexpected == []

    def test_half_precision_archive_is_cast_and_reported(self, small, source, write, state):
        path = write("script", model=source.half())
        model = small.create("small", path)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state[name].half().float())
        assert small.report(model).cast == {"float16 -> float32": len(state)}

    def test_without_torch_jit(self, small, write, assert_holds, monkeypatch):
        path = write("script")

        def refuse(*_, **__):
            raise AssertionError("torch.jit was run")

        for name in ("load", "jit_module_from_flatbuffer"):
            monkeypatch.setattr(torch.jit, name, refuse)
        monkeypatch.setattr(torch._C, "import_ir_module", refuse)
        monkeypatch.setattr(torch, "load", refuse)
        assert_holds(small.create("small", path))

    def test_code_in_the_archive_is_not_run(self, small, write, tmp_path, assert_holds):
        """The source files of an archive are only searched: garbage after the lists of members changes nothing."""
        original, path = write("script"), tmp_path / "edited.pt"
        with zipfile.ZipFile(original) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, data + b"\n!! no code at all (" if name.endswith(".py") else data)
        assert_holds(small.create("small", path))


class TestStoragesAndViews:
    def test_every_layout_reads_as_torch_reads_it(self, save):
        base = torch.arange(60, dtype=torch.float32).reshape(6, 10)
        tensors = {
            "whole": base, "row": base[2], "rows": base[1:4], "column": base[:, 3], "transposed": base.T,
            "every other": base[::2, 1::3], "expanded": torch.ones(1).expand(4, 3), "scalar": base[1, 2],
            "empty": base[:0], "empty inside": base[:, 5:5], "permuted": base.view(2, 3, 10).permute(2, 0, 1),
            "diagonal": base.diagonal(), "one": base[:1, :1],
        }  # fmt: skip
        _, found = index_of(save(tensors))
        for name, tensor in tensors.items():
            assert torch.equal(found[name], tensor), name
            assert found[name].is_contiguous()
        pointers = [t.untyped_storage().data_ptr() for t in found.values() if t.numel()]
        assert len(set(pointers)) == len(pointers)

    @pytest.mark.parametrize(
        "dtype",
        [
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.complex64,
            torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2,
        ],
        ids=str,
    )  # fmt: skip
    def test_every_dtype(self, save, dtype):
        tensor = torch.tensor([0, 1, 1, 0, 1], dtype=torch.float32).to(dtype)
        index, found = index_of(save({"x": tensor}))
        assert index.tensors["x"].dtype == str(dtype).removeprefix("torch.")
        assert found["x"].dtype == dtype
        assert torch.equal(found["x"].view(torch.uint8), tensor.view(torch.uint8))

    def test_compressed_records(self, small, write, tmp_path, assert_holds):
        """A zip tool unpacked the archive and packed it again with compression."""
        original, path = write("torch"), tmp_path / "packed.pt"
        with zipfile.ZipFile(original) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        assert path.stat().st_size < original.stat().st_size
        assert_holds(small.create("small", path))


def edited(original, path, edit):
    """Write the archive with its records passed through `edit(name, data)`."""
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, edit(name.partition("/")[2], old.read(name)))
    return path


class TestDamage:
    def test_cut_anywhere(self, small, write):
        path = write("torch")
        whole = path.read_bytes()
        for keep in (4, 30, 100, 5000, len(whole) // 2, len(whole) - 1000, len(whole) - 30, len(whole) - 1):
            path.write_bytes(whole[:keep])
            with pytest.raises(
                CheckpointError,
                match=r"is truncated: it starts as a zip archive, but the directory at its end is missing \(.*\); the "
                rf"file has {keep:,} bytes\. Nothing was loaded\. Download or copy the file again\.",
            ) as caught:
                small.create("small", path)
            assert (caught.value.path, caught.value.found) == (path, keep)

    def test_a_flipped_byte_in_the_pickle(self, small, write):
        path = write("torch")
        data = bytearray(path.read_bytes())
        data[data.index(b"_rebuild_tensor_v2")] ^= 1
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"is damaged: .*Bad CRC-32.*Download or save the file again"):
            small.create("small", path)

    def test_a_compressed_record_that_does_not_unpack(self, small, write, tmp_path):
        original, path = write("torch"), tmp_path / "packed.pt"
        with zipfile.ZipFile(original) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
            largest = max(new.infolist(), key=lambda record: record.compress_size)
        data = bytearray(path.read_bytes())
        for offset in range(200, 260):
            data[largest.header_offset + offset] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(
            CheckpointError, match=r"is damaged: its record 'checkpoint/data/\d+' could not be read"
        ) as e:
            small.create("small", path)
        assert e.value.name.startswith("checkpoint/data/")

    def test_a_directory_of_an_unknown_version(self, small, write):
        path = write("torch")
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 6] = 255  # the version that a reader needs
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"its zip directory could not be read \(NotImplementedError"):
            small.create("small", path)

    def test_a_directory_that_points_elsewhere(self, small, write):
        path = write("torch")
        data = bytearray(path.read_bytes())
        name = data.rindex(b"/data/5")  # in the directory, 46 bytes after the start of its entry
        entry = data.rindex(b"PK\x01\x02", 0, name)
        offset = struct.unpack_from("<I", data, entry + 42)[0]
        struct.pack_into("<I", data, entry + 42, offset + 64)
        path.write_bytes(data)
        with pytest.raises(
            CheckpointError, match=r"its record '.*data/5\d*' is not where the zip's directory says"
        ) as e:
            small.create("small", path)
        assert "/data/5" in e.value.name

    def test_big_endian(self, small, write, tmp_path):
        path = edited(write("torch"), tmp_path / "x", lambda name, data: b"big" if name == "byteorder" else data)
        with pytest.raises(CheckpointError, match="was written on a big-endian machine, which is not supported") as e:
            small.create("small", path)
        assert e.value.found == b"big"

    def test_a_storage_that_is_too_short(self, small, write, tmp_path):
        path = edited(write("torch"), tmp_path / "x", lambda name, data: data[:-4] if name == "data/3" else data)
        with pytest.raises(CheckpointError, match=r"a tensor of shape \(.*\) does not fit its storage '3'") as e:
            small.create("small", path)
        assert e.value.name == "3"

    @pytest.mark.parametrize(
        ("size", "stride"),
        [(b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), (b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
         (b"G?\xf0\x00\x00\x00\x00\x00\x00\x85", b"K\x01\x85"), (b"K\x02K\x02\x86", b"K\x01\x85")],
        ids=["negative size", "negative stride", "fraction", "lengths differ"],
    )  # fmt: skip
    def test_a_tensor_that_cannot_be(self, small, tmp_path, size, stride):
        storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
        tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + size + stride + b"\x89NtR"
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}X\x0b\x00\x00\x00logit_scale" + tensor + b"s.")
            archive.writestr("a/data/0", bytes(16))
        with pytest.raises(CheckpointError) as caught:
            small.create("small", path)
        assert caught.value.path == path

    @pytest.mark.parametrize(
        "data",
        [b"", b".", b"\x80\x02", b"\x80\x02}", b"\x80\x02]q\x00h\x05.", b"\x80\x09.", b"\x80\x02" + b"]" * 5000 + b"."],
        ids=["empty", "nothing", "no stop", "not stopped", "bad memo", "future", "deep"],
    )
    def test_a_record_that_is_not_a_pickle(self, small, tmp_path, data):
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", data)
        with pytest.raises(CheckpointError):
            small.create("small", path)

    def test_nesting_that_never_ends(self, small, tmp_path):
        nested = {"state_dict": {}}
        inner = nested["state_dict"]
        for _ in range(3000):
            inner["model"] = {}
            inner = inner["model"]
        path = tmp_path / "x.pt"
        opened = b"}X\x05\x00\x00\x00model" * 3000 + b"}" + b"s" * 3000
        cycle = b"}q\x00X\x05\x00\x00\x00modelh\x00s"
        for contents in (opened, cycle):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a/data.pkl", b"\x80\x02" + contents + b".")
            with pytest.raises(CheckpointError) as caught:
                small.create("small", path)
            assert caught.value.expected == ("state_dict", "model_state_dict", "model", "module")


def test_listing_a_checkpoint_needs_no_torch(write):
    """The index of a zip or safetensors file is read without torch, so that explaining a file stays cheap."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from registry_core.checkpoint.file import CheckpointFile\n"
        "from registry_core.checkpoint.recognise import read_index\n"
        "for path in sys.argv[1:]:\n"
        "    with CheckpointFile(Path(path)) as file:\n"
        "        print(len(read_index(file).tensors))\n"
    )
    paths = [str(write(kind, kind)) for kind in ("torch", "safetensors", "script")]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *paths], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    plain, safe, script = map(int, done.stdout.split())
    assert plain == safe == script - 3
