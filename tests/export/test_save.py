"""Saving a model into a folder, and creating it from the folder again."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from registry_core import BuildError, RegistryError

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestWhereItCannotBeWritten:
    @pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
    def test_a_folder_with_the_name_of_a_file_is_refused_before_anything_changes(self, small, tmp_path, name):
        (tmp_path / name).mkdir()
        with pytest.raises(BuildError, match=r"small was not saved: .* is a folder, but.*Nothing was") as caught:
            small.save(small.create("small", pretrained=False), tmp_path)
        assert caught.value.path == tmp_path / name
        assert [path.name for path in tmp_path.iterdir()] == [name]

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which no user can write")
    def test_a_folder_that_takes_no_file(self, small):
        with pytest.raises(BuildError, match=r"small was not saved into /proc: .*is complete.*then save again"):
            small.save(small.create("small", pretrained=False), "/proc")

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become another user")
    def test_a_folder_that_is_closed_to_the_user(self, small):
        model = small.create("small", pretrained=False)
        with tempfile.TemporaryDirectory() as opened:  # pytest's own folders are closed to others
            Path(opened).chmod(0o755)
            closed = small.save(model, Path(opened) / "closed")  # everything is imported
            closed.chmod(0o700)
            os.seteuid(65534)
            try:
                with pytest.raises(BuildError) as caught:
                    small.save(model, closed)
            finally:
                os.seteuid(0)
        assert caught.value.path == closed
        assert "Permission denied" in caught.value.found


class TestWhatIsWritten:
    @pytest.mark.parametrize("name", ["small", "daclip_small", "tiny-rn"])
    def test_reads_back_to_the_bit(self, small, tmp_path, name):
        model = small.create(name, pretrained=False)
        folder = small.save(model, tmp_path / "new" / "folder")
        assert sorted(contents(folder)) == ["README.md", CONFIG, WEIGHTS]
        again = small.create(name, folder / WEIGHTS)
        assert again.state_dict().keys() == model.state_dict().keys()
        for key, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], tensor), key
        config = small.report(model).config
        size, length = config.image_size, config.text_cfg.context_length
        image, text = torch.rand(2, 3, *size), torch.randint(1, 59, (2, length))
        with torch.no_grad():
            assert torch.equal(model.encode_image(image), again.encode_image(image))
            assert torch.equal(model.encode_text(text), again.encode_text(text))

    def test_holds_each_tensor_once_and_aliases_come_back(self, small, tmp_path):
        model = small.create("daclip_small", pretrained=False)
        held = load_file(small.save(model, tmp_path) / WEIGHTS)
        assert held.keys() == {name for name in model.state_dict() if not name.startswith("visual.")}
        again = small.create("daclip_small", tmp_path / WEIGHTS)
        assert again.visual is again.clip.visual
        assert small.report(again).missing == []
        # The trained controller is loaded from the file, and is not a fresh copy of the base model.
        with torch.no_grad():
            model.visual_control.transformer.zero_modules[0].weight.fill_(0.5)
        small.save(model, tmp_path)
        trained = small.create("daclip_small", tmp_path / WEIGHTS).visual_control.transformer.zero_modules[0].weight
        assert torch.equal(trained, torch.full_like(trained, 0.5))

    def test_parameters_that_share_memory_are_each_written(self, small, tmp_path):
        model = small.create("small", pretrained=False)
        first, second = model.visual.transformer.resblocks[:2]
        second.mlp.c_fc.weight = torch.nn.Parameter(first.mlp.c_fc.weight.data)
        second.ln_1.bias = torch.nn.Parameter(first.ln_1.weight.data[:])
        expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        again = small.create("small", small.save(model, tmp_path) / WEIGHTS).state_dict()
        assert again.keys() == expected.keys()
        assert [name for name, tensor in expected.items() if not torch.equal(again[name], tensor)] == []
        assert second.mlp.c_fc.weight.data_ptr() == first.mlp.c_fc.weight.data_ptr()

    @pytest.mark.parametrize("name", ["small", "daclip_small", "tiny-rn"])
    def test_has_a_config_that_its_owner_claims(self, small, tmp_path, name):
        model = small.create(name, pretrained=False)
        written = json.loads((small.save(model, tmp_path) / CONFIG).read_text())
        assert written["architecture"] == small.config(name).architecture
        assert written["model_cfg"]["embed_dim"] == small.config(name).embed_dim
        assert written["preprocess_cfg"]["size"] == list(small.config(name).image_size)
        again = small.services.claim({"architecture": written["architecture"], **written["model_cfg"]}, "here").config
        assert again.vision_cfg == small.config(name).vision_cfg

    def test_is_of_values_as_they_are_after_training(self, small, source, tmp_path):
        with torch.no_grad():
            source.visual.proj.add_(1)
            source.text_projection.data = source.text_projection.data.T.contiguous().T  # no longer contiguous
        held = load_file(small.save(source, tmp_path) / WEIGHTS)
        assert torch.equal(held["visual.proj"], source.visual.proj)
        assert torch.equal(held["text_projection"], source.text_projection)

    def test_keeps_the_dtype(self, small, tmp_path, write):
        model = small.create("small", write("torch"), precision="bf16")
        held = load_file(small.save(model, tmp_path) / WEIGHTS)
        assert {name: tensor.dtype for name, tensor in held.items()} == {
            name: tensor.dtype for name, tensor in model.state_dict().items()
        }

    def test_can_be_saved_over_the_file_that_it_came_from(self, small, source, tmp_path, assert_holds):
        small.save(source, tmp_path)
        for mapped in (False, True):
            model = small.create("small", tmp_path / WEIGHTS, mmap=mapped)
            small.save(model, tmp_path)
            assert_holds(model)
            assert_holds(small.create("small", tmp_path / WEIGHTS))

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
    def test_is_readable_as_other_new_files_are(self, small, source, tmp_path):
        (tmp_path / "plain").touch()
        usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
        for path in small.save(source, tmp_path / "folder").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == usual, path.name

    def test_of_an_empty_shell_is_refused(self, small, tmp_path):
        with pytest.raises(BuildError, match=r"small was not saved: its .* has no values.*device='meta'"):
            small.save(small.create("small", device="meta"), tmp_path / "folder")
        assert not (tmp_path / "folder").exists()

    def test_of_a_model_with_changed_shapes_is_refused(self, small, tmp_path):
        model = small.create("small", pretrained=False)
        model.visual.positional_embedding = torch.nn.Parameter(torch.zeros(5, 16))
        message = (
            r"small was not saved: its visual\.positional_embedding has the shape \[5, 16\], .*Nothing was changed"
        )
        with pytest.raises(BuildError, match=message) as caught:
            small.save(model, tmp_path / "folder")
        assert caught.value.name == "visual.positional_embedding"
        assert caught.value.found == [5, 16]
        assert caught.value.expected == [17, 32]
        assert not (tmp_path / "folder").exists()

    def test_of_a_foreign_model_is_refused(self, small, tmp_path):
        with pytest.raises(RegistryError) as caught:
            small.save(torch.nn.Linear(2, 2), tmp_path)
        assert caught.value.found == "Linear"

    def test_into_a_file_is_refused(self, small, source, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(BuildError, match=r"small was not saved: the folder .*file cannot be created") as caught:
            small.save(source, tmp_path / "file")
        assert caught.value.path == tmp_path / "file"


FULL_DISK = """
import resource, signal, sys
import torch
from registry_core import Registry
registry = Registry()
registry.add_config(sys.argv[2], "small")
model = registry.create("small", False)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that further writes fail, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    registry.save(model, sys.argv[1])
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from registry_core import Registry
registry = Registry()
registry.add_config(sys.argv[2], "small")
model = registry.create("small", False)
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
registry.save(model, sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="limits and signals are POSIX's")
class TestAnInterruptedSave:
    @pytest.fixture
    def run(self, small, tmp_path):
        config = tmp_path / "small.json"
        config.write_text(json.dumps(small.config("small").raw()))

        def run(program, folder):
            return subprocess.run(
                [sys.executable, "-P", "-c", program, str(folder), str(config)],
                capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip

        return run

    @pytest.mark.parametrize("before", [False, True])
    def test_by_a_full_disk_leaves_what_was_there(self, small, source, run, tmp_path, before):
        folder = tmp_path / "folder"
        if before:
            small.save(source, folder)
        held = contents(folder) if before else {}
        done = run(FULL_DISK, folder)
        assert re.match(rf"BuildError: small was not saved into {folder}: .*File too large", done.stdout), done.stderr
        assert contents(folder) == held

    def test_by_the_end_of_the_process_leaves_whole_files(self, small, source, run, tmp_path, assert_holds):
        folder = small.save(source, tmp_path / "folder")
        held = contents(folder)
        assert run(KILLED, folder).returncode == -9
        for name, data in held.items():
            assert (folder / name).read_bytes() == data
        assert_holds(small.create("small", folder / WEIGHTS))
