"""Checkpoints in several files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from registry_core import CheckpointError, StateDictError, UnsafeCheckpointError
from registry_core.checkpoint.shards import shard_names


@pytest.fixture
def state(registry):
    torch.manual_seed(0)
    return registry.create("tiny", pretrained=False).state_dict()


@pytest.fixture
def sharded(tmp_path, state):
    """The index of `tiny` in three files."""
    return write(tmp_path, state)


def write(folder, state, save=save_file, suffix="safetensors"):
    weight_map = {}
    for number in range(3):
        name = f"model-{number}.{suffix}"
        shard = dict(list(state.items())[number::3])
        save(shard, folder / name)
        weight_map |= dict.fromkeys(shard, name)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def change(index, **entries):
    found = json.loads(index.read_text())
    found["weight_map"] |= entries
    index.write_text(json.dumps(found))


@pytest.mark.parametrize("options", [{}, {"mmap": True}, {"precision": "fp16"}])
def test_load_as_one_file_does(registry, sharded, state, options):
    model = registry.create("tiny", str(sharded), **options)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype)), name
    report = registry.report(model)
    assert report.format == "safetensors, in 3 shards"
    assert len(report.loaded) == len(state)


def test_survive_their_files(registry, sharded, state):
    model = registry.create("tiny", str(sharded))
    for path in sharded.parent.glob("model*"):
        path.write_bytes(b"")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_of_torch_save_are_read_as_data(registry, tmp_path, state):
    index = write(tmp_path, state, torch.save, "bin")
    model = registry.create("tiny", str(index))
    assert registry.report(model).format == "torch zip archive, in 3 shards"
    assert torch.equal(model.state_dict()["logit_scale"], state["logit_scale"])


def test_of_one_tower_only(registry, sharded, state):
    model = registry.create("tiny", str(sharded), tower="image")
    assert torch.equal(model.state_dict()["visual.conv1.weight"], state["visual.conv1.weight"])


def test_each_tensor_has_a_storage_of_its_own(registry, sharded):
    model = registry.create("tiny", str(sharded))
    assert all(
        tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size() for tensor in model.parameters()
    )


class TestErrors:
    def test_a_shard_that_is_not_there(self, registry, sharded):
        sharded.with_name("model-1.safetensors").unlink()
        with pytest.raises(
            CheckpointError,
            match=r"is the index of a checkpoint in 3 files\. 1 of them are not in the same folder: "
            r"model-1\.safetensors\. Nothing was loaded\. Copy or download them into ",
        ) as caught:
            registry.create("tiny", str(sharded))
        assert (caught.value.path, caught.value.name) == (sharded, "model-1.safetensors")

    def test_a_shard_without_a_tensor_that_the_index_places_there(self, registry, sharded):
        change(sharded, logit_scale="model-1.safetensors", extra="model-1.safetensors")
        with pytest.raises(
            CheckpointError,
            match=r"it assigns the tensor '\w+' to model-1\.safetensors, which does not hold that tensor\.",
        ) as caught:
            registry.create("tiny", str(sharded))
        assert caught.value.name in {"logit_scale", "extra"}

    def test_a_shard_that_is_cut_off(self, registry, sharded):
        shard = sharded.with_name("model-2.safetensors")
        shard.write_bytes(shard.read_bytes()[:-10])
        with pytest.raises(CheckpointError) as caught:
            registry.create("tiny", str(sharded))
        assert caught.value.path == shard
        assert caught.value.expected == caught.value.found + 10

    @pytest.mark.parametrize("name", ["../w", "/etc/passwd", "C:\\w", "nul", "a\0b", "x" * 300, "", 5, None, ["a"]])
    def test_a_name_that_leads_elsewhere(self, registry, sharded, name):
        change(sharded, logit_scale=name)
        with pytest.raises(
            CheckpointError, match=r"(?s)lists .*, which cannot be the name of a file in its folder: .*Nothing was read"
        ) as caught:
            registry.create("tiny", str(sharded))
        assert caught.value.found == name

    def test_an_index_of_an_index(self, registry, sharded):
        change(sharded, logit_scale=sharded.name)
        with pytest.raises(CheckpointError) as caught:
            registry.create("tiny", str(sharded))
        assert caught.value.found == "JSON text, not weights"

    def test_a_shard_that_would_run_code(self, registry, sharded):
        sharded.with_name("model-0.safetensors").write_bytes(b"\x80\x02cos\nsystem\n.")
        with pytest.raises(UnsafeCheckpointError) as caught:
            registry.create("tiny", str(sharded))
        assert caught.value.path == sharded.with_name("model-0.safetensors")
        assert caught.value.found == "a bare pickle, not written by torch.save"

    @pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": []}', '{"weight_map": 5}', "{", "[" * 100_000])
    def test_other_json_is_not_a_checkpoint(self, registry, tmp_path, text):
        path = tmp_path / "x.index.json"
        path.write_text(text)
        with pytest.raises(CheckpointError) as caught:
            registry.create("tiny", str(path))
        assert caught.value.found == "JSON text, not weights"
        assert shard_names(path) == []

    def test_tensors_of_another_model(self, registry, sharded):
        with pytest.raises(StateDictError) as caught:
            registry.create("tiny-rn", str(sharded))
        assert (caught.value.path, caught.value.name) == (sharded, "tiny-rn")


def test_only_one_shard_is_read_at_a_time(tmp_path):
    """Loading 60 MB in eight shards with a cast needs memory for the result, and for little more than one shard."""
    for number in range(8):
        save_file({f"t{number}": torch.zeros(15 << 17, dtype=torch.float32)}, tmp_path / f"m-{number}.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"t{n}": f"m-{n}.safetensors" for n in range(8)}}))
    code = (
        "import re, sys; from pathlib import Path; import torch\n"
        "from registry_core.checkpoint.file import CheckpointFile\n"
        "from registry_core.checkpoint.index import Conversion\n"
        "from registry_core.build.load_state import LoadOptions, load_state\n"
        "from registry_core.checkpoint.recognise import read_index\n"
        "model = torch.nn.ParameterDict({f't{n}': torch.nn.Parameter(torch.empty(15 << 17, dtype=torch.float16)) "
        "for n in range(8)})\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "before = peak()\n"
        "with CheckpointFile(Path(sys.argv[1])) as file:\n"
        "    options = LoadOptions(True, False, frozenset(), lambda: model)\n"
        "    load_state(model, Conversion(read_index(file).tensors), file, options, 'm')\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(index)], capture_output=True, text=True, check=True)
    assert (
        int(done.stdout) < 30 + 2 * 8 + 12
    )  # the result in half precision, a shard as stored and as cast, and the reader itself


def test_shard_names_lists_each_file_once(tmp_path, state):
    assert shard_names(write(tmp_path, state)) == [f"model-{number}.safetensors" for number in range(3)]
