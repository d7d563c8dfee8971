"""safetensors files, and headers that are not true."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from registry_core import CheckpointError, StateDictError
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index


def parts(path):
    """Return the header and the body of a file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put(path, header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def assert_invalid_header(registry, path):
    with pytest.raises(CheckpointError) as caught:
        registry.create("small", path)
    assert (caught.value.path, caught.value.expected) == (path, "a valid safetensors header")


@pytest.fixture
def edited(write):
    """edited(change) -> a checkpoint whose header went through `change`."""

    def edit(change):
        path = write("safetensors")
        header, body = parts(path)
        changed = change(header)
        return put(path, header if changed is None else changed, body)

    return edit


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
    ],
    ids=str,
)  # fmt: skip
def test_every_dtype_reads_as_it_was_written(tmp_path, dtype):
    tensor = torch.tensor([0, 1, 1, 0, 1], dtype=torch.float32).to(dtype)
    save_file({"x": tensor, "empty": tensor[:0], "scalar": tensor[1].clone()}, tmp_path / "x", metadata={"a": "b"})
    with CheckpointFile(tmp_path / "x") as file:
        found = {name: lazy.load() for name, lazy in read_index(file).tensors.items()}
    assert found.keys() == {"x", "empty", "scalar"}
    assert found["x"].dtype == found["empty"].dtype == dtype
    assert torch.equal(found["x"].view(torch.uint8), tensor.view(torch.uint8))
    assert (found["empty"].shape, found["scalar"].shape) == ((0,), ())


class TestFalseHeaders:
    @pytest.mark.parametrize(
        "entry",
        [
            {"data_offsets": [0, 8]},
            {"data_offsets": [4, 0]},
            {"data_offsets": [-4, 0]},
            {"data_offsets": [0.0, 4.0]},
            {"data_offsets": [0]},
            {"data_offsets": None},
            {"data_offsets": ["0", "4"]},
            {"shape": [2]},
            {"shape": [-1, -1]},
            {"shape": [1.0]},
            {"shape": ["1"]},
            {"shape": 1},
            {"shape": None},
            {"shape": [10**30]},
            {"dtype": "F16"},
            {"dtype": ["F32"]},
        ],
        ids=str,
    )
    def test_about_one_tensor(self, small, edited, entry):
        path = edited(lambda header: header["logit_scale"].update(entry))
        with pytest.raises(
            CheckpointError, match=r"is damaged: its safetensors header is not valid.*save the file again"
        ) as e:
            small.create("small", path)
        assert e.value.path == path

    def test_about_a_dtype_that_does_not_exist(self, small, edited):
        path = edited(lambda header: header["logit_scale"].update(dtype="F4"))
        with pytest.raises(CheckpointError, match=r"the dtype F4 is not one of F64, F32, F16, BF16, I64"):
            small.create("small", path)

    @pytest.mark.parametrize("key", ["dtype", "shape", "data_offsets"])
    def test_that_lack_a_key(self, small, edited, key):
        def drop(header):
            del header["logit_scale"][key]

        assert_invalid_header(small, edited(drop))

    @pytest.mark.parametrize("entry", [None, 3, "text", [1]])
    def test_with_something_else_for_a_tensor(self, small, edited, entry):
        assert_invalid_header(small, edited(lambda header: {**header, "logit_scale": entry}))

    def test_about_the_end(self, small, edited):
        def beyond(header):
            begin = 10**12
            header["logit_scale"]["data_offsets"] = [begin, begin + 4]

        with pytest.raises(
            CheckpointError,
            match=r"is truncated: its own index needs at least 1,000,000,\d{3},\d{3} bytes, but the file has [\d,]+\. "
            r"An interrupted download or copy leaves such a file\. Nothing was loaded\. Download or copy the file",
        ):
            small.create("small", edited(beyond))

    def test_with_overlapping_tensors(self, small, edited):
        def overlap(header):
            header["ln_final.bias"]["data_offsets"] = header["ln_final.weight"]["data_offsets"]

        path = edited(overlap)
        assert_invalid_header(small, path)
        with pytest.raises(CheckpointError, match="the tensors overlap or leave a hole at byte"):
            small.create("small", path)

    def test_with_bytes_that_belong_to_no_tensor(self, small, write):
        path = write("safetensors")
        header, body = parts(path)
        assert_invalid_header(small, put(path, header, body + b"more"))
        del header["ln_final.bias"]
        assert_invalid_header(small, put(path, header, body))

    def test_that_name_a_tensor_twice(self, small, write):
        path = write("safetensors")
        header, body = parts(path)
        text = json.dumps(header)
        entry = json.dumps(header["ln_final.bias"])
        assert_invalid_header(small, put(path, f'{text[:-1]}, "ln_final.bias": {entry}}}'.encode(), body))

    def test_with_shapes_of_another_model(self, small, edited):
        path = edited(lambda header: header["text_projection"].update(shape=[16, 32]))
        with pytest.raises(StateDictError) as caught:
            small.create("small", path)
        assert caught.value.misshaped == {"text_projection": "file [16, 32], model [32, 16]"}

    def test_of_extreme_depth(self, small, tmp_path):
        deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        assert_invalid_header(small, put(tmp_path / "x", deep, b""))

    @pytest.mark.parametrize("text", [b"{}", b'{"__metadata__":{"format":"pt"}}'])
    def test_without_tensors(self, small, tmp_path, text):
        with pytest.raises(CheckpointError) as caught:
            small.create("small", put(tmp_path / "x", text, b""))
        assert "state_dict" in caught.value.expected
        assert caught.value.found == []

    @pytest.mark.parametrize("text", [b"{", b'{"a"}', b"{\xff\xfe}", b'{"a": NaN}', b"{}}"])
    def test_that_are_not_json(self, small, tmp_path, text):
        assert_invalid_header(small, put(tmp_path / "x", text + b" " * (8 - len(text)), b""))


def test_cut_anywhere_states_both_sizes(small, write):
    path = write("safetensors")
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for keep in (10, header - 1, header, header + 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError) as caught:
            small.create("small", path)
        assert (caught.value.path, caught.value.found) == (path, keep)
        assert keep < caught.value.expected <= len(whole)
