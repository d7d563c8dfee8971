"""Load a checkpoint into an existing model: what changes, and what must not change."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from registry_core import BuildError, CheckpointError, PluginError, Registry, RegistryError, StateDictError, hookimpl

WIDE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": [32, 128], "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 32, "heads": 2, "layers": 1},
}
TIMM = {
    "embed_dim": 16,
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 160},
    "text_cfg": WIDE["text_cfg"],
}


def values(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Interrupted(TorchFunctionMode):
    """Interrupts the program right after the nth write into a parameter."""

    def __init__(self, number):
        super().__init__()
        self.left, self.wrote = number, False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.copy_ and not self.wrote and args[0].requires_grad:
            if not self.left:
                self.wrote = True
                raise KeyboardInterrupt
            self.left -= 1
        return result


@pytest.fixture
def model(registry):
    torch.manual_seed(11)
    return registry.create("tiny", False)


@pytest.fixture
def other(registry):
    """Return another `tiny`, whose values are loaded."""
    torch.manual_seed(12)
    return registry.create("tiny", False)


@pytest.fixture
def write(tmp_path):
    """write(state) writes a state dict and returns its path; None leaves a name out."""

    def write(state, name="other.safetensors", **changed):
        path = tmp_path / name
        save_file({key: t.clone() for key, t in {**state, **changed}.items() if t is not None}, path)
        return path

    return write


@pytest.fixture
def path(other, write):
    return write(other.state_dict())


class TestWhatIsRead:
    def test_a_safetensors_file(self, registry, model, other, path):
        report = registry.load(model, path)
        assert equal(values(model), values(other))
        assert registry.report(model) is report
        assert (report.path, report.format, report.weights) == (path, "safetensors", f"file {path}")
        assert set(report.loaded) == set(model.state_dict())
        assert (report.missing, report.unexpected, report.misshaped) == ([], [], {})
        assert not report.random
        json.dumps(report.to_dict())

    @pytest.mark.parametrize("zipped", [True, False])
    def test_torch_files(self, registry, model, other, tmp_path, zipped):
        torch.save(other.state_dict(), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        registry.load(model, tmp_path / "x.pt")
        assert equal(values(model), values(other))

    def test_a_training_checkpoint_with_prefixes(self, registry, model, other, tmp_path):
        state = {f"module.{name}": tensor for name, tensor in other.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": state}, tmp_path / "epoch_3.pt")
        assert registry.load(model, str(tmp_path / "epoch_3.pt")).notes
        assert equal(values(model), values(other))

    def test_what_save_wrote(self, registry, model, other, tmp_path):
        registry.load(model, registry.save(other, tmp_path / "saved") / "open_clip_model.safetensors")
        assert equal(values(model), values(other))

    def test_buffers_too(self, registry, write):
        model, other = (registry.create("tiny-rn", False) for _ in range(2))
        other.visual.bn1.running_mean.fill_(3)
        other.visual.bn1.num_batches_tracked.fill_(7)
        held = model.visual.bn1.running_mean
        registry.load(model, write(other.state_dict()))
        assert model.visual.bn1.running_mean is held
        assert equal(values(model), values(other))

    def test_one_tower(self, registry, other, path):
        for tower in ("image", "text"):
            half = registry.create("tiny", False, tower=tower)
            report = registry.load(half, path)
            assert report.tower == tower
            assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in half.state_dict().items())

    def test_a_model_whose_config_holds_mappings(self, registry, other, path):
        """The configs of SigLIP do."""
        options = {"text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"}}, "image_size": 64}
        model = registry.create("tiny", False, **options)
        registry.load(model, path)
        assert equal(values(model), values(other))
        assert registry.load(registry.create("tiny", path, **options, context_length=9), path).adapted

    def test_a_tower_of_timm(self, registry, write):
        pytest.importorskip("timm")
        registry.add_config(TIMM, "timm-tiny")
        model, other = (registry.create("timm-tiny", False) for _ in range(2))
        registry.load(model, write(other.state_dict()))
        assert equal(values(model), values(other))


class TestPositions:
    def test_of_another_image_size_are_resized(self, registry, path):
        model = registry.create("tiny", False, image_size=32)
        report = registry.load(model, path)
        assert report.adapted == {"visual.positional_embedding": "resized 4x4 -> 2x2, bicubic"}
        assert equal(values(model), values(registry.create("tiny", path, image_size=32)))

    def test_of_the_published_grid_and_of_the_models_own_are_distinguished(self, registry, write):
        registry.add_config(WIDE, "wide")
        before = registry.create("wide", False)
        model, after = (registry.create("wide", False, image_size=[64, 128]) for _ in range(2))
        assert registry.load(model, write(after.state_dict())).adapted == {}
        assert equal(values(model), values(after))
        adapted = registry.load(model, write(before.state_dict())).adapted
        assert adapted == {"visual.positional_embedding": "resized 2x8 -> 4x8, bicubic"}

    def test_of_timm_likewise(self, registry, write):
        pytest.importorskip("timm")
        registry.add_config(TIMM, "timm-tiny")
        before = registry.create("timm-tiny", False)
        model, after = (registry.create("timm-tiny", False, image_size=192) for _ in range(2))
        assert registry.load(model, write(after.state_dict())).adapted == {}
        assert equal(values(model), values(after))
        assert "10x10 -> 12x12" in registry.load(model, write(before.state_dict())).adapted["visual.trunk.pos_embed"]


class TestWhatStays:
    def test_identity_memory_and_requires_grad(self, registry, model, other, path):
        model.visual.requires_grad_(False)
        before = {name: (id(p), p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
        registry.load(model, path)
        assert {name: (id(p), p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()} == before
        assert equal(values(model), values(other))

    @pytest.mark.parametrize("precision", ["bf16", "pure_fp16"])
    def test_the_dtype(self, registry, other, path, precision):
        model = registry.create("tiny", False, precision=precision)
        dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        report = registry.load(model, path)
        assert {name: tensor.dtype for name, tensor in model.state_dict().items()} == dtypes
        assert equal(values(model), {name: t.to(dtypes[name]) for name, t in values(other).items()})
        assert report.precision == precision
        assert sum(report.cast.values()) == sum(dtype != torch.float32 for dtype in dtypes.values())

    def test_an_optimiser_keeps_working(self, registry, model, other, path):
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        registry.load(model, path)
        model.logit_scale.sum().backward()
        optimiser.step()
        assert torch.equal(model.logit_scale, other.logit_scale - 1)

    def test_training_mode(self, registry, model, path):
        model.train()
        registry.load(model, path)
        assert model.training

    def test_the_values_if_the_file_changes_later(self, registry, model, other, path):
        registry.load(model, path)
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
        assert equal(values(model), values(other))

    def test_what_the_report_states_about_the_model(self, registry, path):
        model = registry.create("tiny", False, quick_gelu=True)
        before = registry.report(model)
        report = registry.load(model, path)
        assert (report.name, report.config, report.settled) == (before.name, before.config, before.settled)
        assert (report.plugin, report.owner, report.trained) == (before.plugin, before.owner, before.trained)
        assert report.before == "random values"
        assert report.notes is not before.notes

    def test_memory_that_views_share(self, registry, model, other, path):
        view = model.visual.proj.data[0]
        registry.load(model, path)
        assert torch.equal(view, other.visual.proj[0])

    def test_a_compiled_model(self, registry, model, other, path):
        compiled = torch.compile(model, backend="eager")
        registry.load(compiled, path)
        assert equal(values(model), values(other))
        assert registry.report(compiled) is registry.report(model)


class TestWhatDoesNotFit:
    def test_is_an_error_that_changes_nothing(self, registry, model, other, write):
        before, report = values(model), registry.report(model)
        for number, changed in enumerate(
            ({"visual.proj": None}, {"unknown": torch.ones(1)}, {"visual.proj": torch.ones(2, 2)})
        ):
            path = write(other.state_dict(), f"{number}", **changed)
            with pytest.raises(StateDictError) as caught:
                registry.load(model, path)
            assert (caught.value.path, caught.value.name) == (path, "tiny")
            assert [*caught.value.missing, *caught.value.unexpected, *caught.value.misshaped] == [*changed]
        assert equal(values(model), before)
        assert registry.report(model) is report

    def test_is_reported_and_keeps_its_value_in_a_lenient_load(self, registry, model, other, write):
        before = values(model)
        changed = {"visual.proj": None, "unknown": torch.ones(1), "text_projection": torch.ones(2, 2)}
        report = registry.load(model, write(other.state_dict(), **changed), strict=False)
        assert report.missing == ["visual.proj"]
        assert report.unexpected == ["unknown"]
        assert list(report.misshaped) == ["text_projection"]
        assert report.notes[-1] == "2 names of the model were not written: they keep the values from random values"
        kept = {name: before[name] for name in ("visual.proj", "text_projection")}
        assert equal(values(model), {**values(other), **kept})

    def test_in_any_tensor_is_always_an_error(self, registry, model, write):
        with pytest.raises(StateDictError) as caught:
            registry.load(model, write({"unknown": torch.ones(1)}), strict=False)
        assert caught.value.unexpected == ["unknown"]
        assert len(caught.value.missing) == len(model.state_dict())

    def test_a_file_that_is_cut_off_while_it_is_read(self, registry, model, other, tmp_path):
        torch.save(other.state_dict(), tmp_path / "x.pt")
        before, report = values(model), registry.report(model)

        data = (tmp_path / "x.pt").read_bytes()
        convert = registry.services.convert  # is called after the index is read and before the values are read

        def shorten(*arguments):
            (tmp_path / "x.pt").write_bytes(data[: len(data) // 2])
            return convert(*arguments)

        registry.services.convert = shorten
        with pytest.raises(CheckpointError) as caught:
            registry.load(model, tmp_path / "x.pt")
        assert caught.value.found == len(data) // 2 < caught.value.expected
        assert equal(values(model), before)
        assert registry.report(model) is report


class TestDaClip:
    @pytest.fixture
    def daclip(self, registry):
        torch.manual_seed(13)
        model = registry.create("daclip_tiny", False)
        with torch.no_grad():
            for parameter in model.visual_control.parameters():
                parameter.add_(0.5)
        return model

    def test_a_plain_clip_restarts_the_controller_and_locks_the_base(self, registry, daclip, path):
        control = daclip.visual_control.transformer.zero_modules[0].weight
        report = registry.load(daclip, path)
        assert report.left_to_owner == ["visual_control", "logit_scale"]
        assert report.post_load == ["daclip"]
        assert equal(values(daclip), values(registry.create("daclip_tiny", path)))
        assert daclip.visual_control.transformer.zero_modules[0].weight is control
        assert not control.any()
        assert not any(parameter.requires_grad for parameter in daclip.clip.parameters())
        assert daclip.visual is daclip.clip.visual

    def test_a_whole_one_is_loaded_unchanged(self, registry, daclip, tmp_path):
        file = registry.save(daclip, tmp_path / "saved") / "open_clip_model.safetensors"
        model = registry.create("daclip_tiny", False)
        report = registry.load(model, file)
        assert (report.left_to_owner, report.kind) == ([], "whole DA-CLIP, controller kept")
        assert equal(values(model), values(daclip))
        assert all(parameter.requires_grad for parameter in model.clip.parameters())


class TestPlugins:
    def register(self, registry, post_load):
        class Plugin:
            pass

        Plugin.post_load = hookimpl(post_load)
        registry.register(Plugin(), "acme")

    def test_run_as_in_create(self, registry, model, path):
        def post_load(self, model, report):
            model.visual.requires_grad_(requires_grad=False)

        self.register(registry, post_load)
        assert "acme" in registry.load(model, path).post_load
        assert not model.visual.proj.requires_grad
        assert model.text_projection.requires_grad

    def test_that_fail_change_nothing(self, registry, model, path):
        def post_load(self, model, report):
            model.requires_grad_(requires_grad=False)
            model.logit_scale.fill_(math.pi)
            raise ValueError("no")

        self.register(registry, post_load)
        before, report = values(model), registry.report(model)
        with pytest.raises(PluginError) as caught:
            registry.load(model, path)
        assert (caught.value.plugin, caught.value.hook) == ("acme", "post_load")
        assert equal(values(model), before)
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert registry.report(model) is report

    def test_an_interrupt_while_writing_changes_nothing(self, registry, model, path):
        """No matter which tensor is being written."""
        before = values(model)
        for number in range(len(before)):
            writing = Interrupted(number)
            with pytest.raises(KeyboardInterrupt), writing:
                registry.load(model, path)
            assert writing.wrote
            assert equal(values(model), before), number

    def test_that_replace_the_model_are_refused(self, registry, model, path):
        self.register(registry, lambda _, model: torch.nn.Sequential(model))
        before = values(model)
        with pytest.raises(
            PluginError,
            match=r"A plugin would replace tiny by another module \(post_load of .*acme, replaced\), which is not "
            r"possible for a model that is in use\. The model is unchanged\. Create a new model with the file",
        ) as caught:
            registry.load(model, path)
        assert (caught.value.plugin, caught.value.hook, caught.value.name) == ("acme", "post_load", "tiny")
        assert equal(values(model), before)


class TestMistakes:
    def test_a_model_that_no_registry_made(self, registry, path):
        with pytest.raises(RegistryError) as caught:
            registry.load(torch.nn.Linear(1, 1), path)
        assert caught.value.found == "Linear"

    def test_an_empty_shell(self, registry, path):
        shell = registry.create("tiny", device="meta")
        with pytest.raises(
            BuildError,
            match=r"Nothing was loaded into tiny: its \S+ has no memory, because device='meta' makes an empty",
        ) as caught:
            registry.load(shell, path)
        assert (caught.value.name, caught.value.found) == ("tiny", "meta")

    def test_a_path_that_does_not_exist(self, registry, model, tmp_path):
        with pytest.raises(CheckpointError) as caught:
            registry.load(model, tmp_path / "none.pt")
        assert caught.value.path == tmp_path / "none.pt"
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_a_folder(self, registry, model, tmp_path):
        folder = registry.save(model, tmp_path / "saved")
        with pytest.raises(CheckpointError) as caught:
            registry.load(model, folder)
        assert (caught.value.path, caught.value.found) == (folder, "a folder")

    def test_another_model_s_file(self, registry, model, write):
        with pytest.raises(CheckpointError):
            registry.load(model, write(registry.create("daclip_tiny", False).visual_control.state_dict()))

    def test_another_registry_serves_as_well(self, model, other, path):
        Registry().load(model, path)
        assert equal(values(model), values(other))
