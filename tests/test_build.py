"""Models are built without values that a file overwrites, and with every value where there is no file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from registry_core import BuildError, Conversion, ModelConfig, PluginError, hookimpl
from registry_core.build import build, without_values

UNTOUCHED = -123.0


def marked(*shape):
    """A parameter with a value of its own, so that a write to it would be seen."""
    return nn.Parameter(torch.full(shape, UNTOUCHED))


class WritesInEveryWay(nn.Module):
    """Initialises as published model code does."""

    def __init__(self):
        super().__init__()
        self.w = marked(6, 4)
        with torch.no_grad():
            self.w.fill_(1)
            self.w.normal_()
            self.w.mul_(2).add_(3)
            self.w.copy_(torch.ones(6, 4))
            self.w[0].zero_()
            self.w[:, 1:].zero_()
            self.w.view(-1).fill_(4)
            self.w.detach().uniform_()
            self.w.T.clamp_(0, 1)
            torch.Tensor.zero_(self.w)
        self.w.data.fill_(5)
        self.w.data[2].fill_(6)
        self.w.data.normal_(mean=0.0, std=0.02)
        for function in (
            nn.init.normal_, nn.init.zeros_, nn.init.ones_, nn.init.uniform_, nn.init.xavier_uniform_,
            nn.init.xavier_normal_, nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.trunc_normal_,
            nn.init.orthogonal_,
        ):  # fmt: skip
            function(self.w)
        nn.init.constant_(tensor=self.w, val=7.0)


class BuffersOfEveryKind(nn.Module):
    """Buffers by arithmetic and in place, persistent and not, one of them made of a parameter's values."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        mask = torch.empty(5, 5)
        mask.fill_(float("-inf"))
        mask.triu_(1)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("index", torch.arange(6).reshape(2, 3).flip(0))
        angles = torch.zeros(8)
        angles += torch.linspace(0, 1, 8)
        angles[3] = 9
        self.register_buffer("angles", angles.sin_(), persistent=False)
        self.register_buffer("shaped_like", torch.zeros_like(self.linear.weight).add_(2))
        self.register_buffer("copied", self.linear.weight.detach().clone().fill_(3))


class TestWithoutValues:
    def test_no_write_reaches_a_parameter(self):
        model = build(WritesInEveryWay, values=False)
        assert torch.equal(model.w, torch.full((6, 4), UNTOUCHED))
        assert (build(WritesInEveryWay, values=True).w != UNTOUCHED).any()

    def test_parameters_take_real_memory_and_gradients(self):
        with without_values():
            model = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(1, 2, 3), nn.Embedding(5, 6, padding_idx=0))
        for parameter in model.parameters():
            assert parameter.device.type == "cpu"
            assert parameter.requires_grad
            assert parameter.data_ptr() or not parameter.numel()

    def test_requires_grad_is_still_heeded(self):
        def frozen():
            layer = nn.Linear(2, 2)
            layer.weight.requires_grad_(False)
            layer.bias.requires_grad = False
            return layer

        assert not any(parameter.requires_grad for parameter in build(frozen, values=False).parameters())

    def test_buffers_are_computed(self):
        plain, model = BuffersOfEveryKind(), build(BuffersOfEveryKind, values=False)
        names = {name for name, _ in model.named_buffers()}
        assert names == {"mask", "index", "angles", "shaped_like", "copied", "norm.running_mean", "norm.running_var",
                         "norm.num_batches_tracked"}  # fmt: skip
        for name, buffer in plain.named_buffers():
            assert torch.equal(model.get_buffer(name), buffer), name

    def test_a_buffer_in_the_place_of_a_discarded_parameter_is_computed(self):
        """Allocators hand out the address of what is gone: it must not count as a parameter's."""

        def reusing():
            module = nn.Module()
            for index in range(200):
                discarded = nn.Linear(8, 8)
                del discarded
                module.register_buffer(f"b{index}", torch.empty(8, 8).fill_(index))
            return module

        for index, buffer in enumerate(build(reusing, values=False).buffers()):
            assert torch.equal(buffer, torch.full((8, 8), float(index)))

    def test_ends_with_the_block_even_after_an_error(self):
        with pytest.raises(ZeroDivisionError), without_values():
            _ = 1 / 0
        layer = nn.Linear(3, 3)
        nn.init.constant_(layer.weight, 2.0)
        assert (layer.weight == 2).all()
        with torch.no_grad():
            assert (layer.weight.fill_(3) == 3).all()

    def test_models_of_other_threads_are_not_touched(self):
        """The dropping mode belongs to the thread that builds."""
        import threading

        found = []
        with without_values():
            worker = threading.Thread(target=lambda: found.append(nn.init.constant_(nn.Linear(2, 2).weight, 2.0)))
            worker.start()
            worker.join()
        assert (found[0] == 2).all()


class TestBuild:
    @pytest.mark.parametrize("values", [True, False])
    def test_gives_evaluation_mode(self, values):
        assert not build(lambda: nn.Dropout(0.5), values=values).training

    @pytest.mark.parametrize("answer", [None, "model", {}])
    def test_refuses_what_is_no_module(self, answer):
        with pytest.raises(BuildError, match=rf"returned a {type(answer).__name__}, expected a torch\.nn\.Module"):
            build(lambda: answer, values=True)

    def test_on_the_meta_device_takes_no_memory(self):
        model = build(lambda: nn.Linear(10**6, 10**6), values=False, device="meta")
        assert model.weight.is_meta

    @pytest.mark.parametrize("name", ["tiny", "tiny-rn"])
    def test_with_random_values_equals_the_plain_module(self, registry, name):
        """create() adds nothing to what the module's own constructor draws."""
        torch.manual_seed(5)
        created = registry.create(name, pretrained=False).state_dict()
        torch.manual_seed(5)
        plain = registry.services.build(registry.config(name), None).state_dict()
        assert created.keys() == plain.keys()
        for key, tensor in plain.items():
            assert torch.equal(created[key], tensor), key
            assert torch.isfinite(tensor).all()

    @pytest.mark.parametrize("name", ["tiny", "tiny-rn", "daclip_tiny"])
    def test_without_values_has_the_names_shapes_and_buffers_of_the_plain_module(self, registry, name):
        config = registry.config(name)
        bare = build(lambda: registry.services.build(config, None), values=False)
        plain = build(lambda: registry.services.build(config, None), values=True)
        assert list(bare.state_dict()) == list(plain.state_dict())
        for key, tensor in plain.state_dict().items():
            assert (bare.state_dict()[key].shape, bare.state_dict()[key].dtype) == (tensor.shape, tensor.dtype)
        for key, buffer in plain.named_buffers():
            assert torch.equal(bare.get_buffer(key), buffer), key

    def test_a_shell_is_whole_and_empty(self, registry):
        shell, real = registry.create("daclip_tiny", device="meta"), registry.create("daclip_tiny", pretrained=False)
        assert {n: (t.shape, t.dtype) for n, t in shell.state_dict().items()} == {
            n: (t.shape, t.dtype) for n, t in real.state_dict().items()
        }
        assert all(tensor.is_meta for tensor in (*shell.parameters(), *shell.buffers()))


@pytest.mark.parametrize("name", ["tiny", "tiny-rn", "daclip_tiny"])
def test_creating_a_native_model_loads_no_compiler(registry, tmp_path, name):
    """torch._dynamo and sympy take a second to import, and the meta device's random fills would."""
    checkpoint = tmp_path / "x.pt"
    torch.save(registry.create(name, pretrained=False).state_dict(), checkpoint)
    base = name.removeprefix("daclip_")
    program = (
        "import json, sys\nfrom registry_core import Registry\n"
        "registry = Registry()\n"
        f"registry.add_config(json.loads(sys.argv[1]), {base!r})\n"
        f"for arguments in ({{'device': 'meta'}}, {{'pretrained': sys.argv[2]}}, {{'pretrained': False}}):\n"
        f"    registry.create({name!r}, **arguments)\n"
        "    print([name for name in ('torch._dynamo', 'sympy', 'torch._inductor') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, json.dumps(registry.config(base).raw()), str(checkpoint)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n[]\n[]\n", "")


class LeavingConfig(ModelConfig):
    architecture = "leaving"


class Leaving(nn.Module):
    def __init__(self):
        super().__init__()
        self.held = nn.Linear(3, 3)
        self.left = nn.Linear(3, 3)
        self.alone = nn.Parameter(torch.zeros(2))


def leaving(finish, left=("left", "alone")):
    """A plugin whose checkpoints do not hold all, and whose post_load is `finish`."""

    class Plugin:
        @hookimpl
        def resolve_config(self, name, raw):
            if raw is not None:
                mine = raw.get("architecture") == "leaving"
                return LeavingConfig.parse(raw, name) if mine else None
            return LeavingConfig(embed_dim=4, vision_cfg={}, text_cfg={}) if name == "leaver" else None

        @hookimpl
        def build_model(self):
            return Leaving()

        @hookimpl
        def convert_state_dict(self, state):
            return Conversion(state, left, "half a model")

        @hookimpl
        def post_load(self, model):
            return finish(model) if isinstance(model, Leaving) else None

    return Plugin()


class TestWhatAFileCannotHold:
    @pytest.fixture
    def create(self, registry, tmp_path):
        def create(finish, **options):
            registry.register(leaving(finish, **options), "leaving")
            torch.save(nn.Sequential(nn.Linear(3, 3)).state_dict(prefix="x."), tmp_path / "x")
            state = {"held.weight": torch.ones(3, 3), "held.bias": torch.ones(3)}
            torch.save(state, tmp_path / "leaver.pt")
            return registry.create("leaver", tmp_path / "leaver.pt")

        return create

    def test_is_written_by_the_owner_and_reported(self, registry, create):
        def finish(model):
            nn.init.ones_(model.left.weight)
            with torch.no_grad():
                model.left.bias.copy_(torch.arange(3.0))
                model.alone.zero_()

        model = create(finish)
        assert (model.left.weight == 1).all()
        report = registry.report(model)
        assert report.left_to_owner == ["left", "alone"]
        assert (report.missing, report.kind, report.post_load[0]) == ([], "half a model", "leaving")
        assert "left, alone" in str(report)

    def test_left_unwritten_is_the_plugins_error(self, create):
        with pytest.raises(
            PluginError,
            match=r"Plugin leaving \(.*\) left 3 parameters of leaver unwritten: alone, left\.weight, "
            r"left\.bias\. Its conversion said that its post_load writes them\. Nothing was returned",
        ):
            create(lambda _: None)

    def test_written_in_part_names_the_rest(self, create):
        def finish(model):
            nn.init.zeros_(model.left.weight)
            nn.init.zeros_(model.alone)

        with pytest.raises(PluginError, match=r"left 1 parameters of leaver unwritten: left\.bias\. "):
            create(finish)

    def test_may_be_exchanged_for_other_parameters(self, create):
        def finish(model):
            model.left = nn.Linear(3, 3)
            model.alone = nn.Parameter(torch.ones(2))

        assert (create(finish).alone == 1).all()

    def test_may_be_given_other_memory(self, create):
        def finish(model):
            for parameter in (*model.left.parameters(), model.alone):
                parameter.data = torch.full_like(parameter, 4)

        assert (create(finish).left.bias == 4).all()

    def test_may_be_taken_away(self, create):
        def finish(model):
            del model.left
            nn.init.zeros_(model.alone)

        assert not hasattr(create(finish), "left")

    def test_that_is_not_announced_is_missing(self, create):
        with pytest.raises(Exception, match=r"missing from the file: alone, left\.weight, left\.bias"):
            create(lambda _: None, left=())
