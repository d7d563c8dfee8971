"""Models are built without the values that a file overwrites, and with every value if there is no file."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import BuildError
from registry_core.build.uninitialised import build, without_values

UNTOUCHED = -123.0


def marked(*shape):
    """Return a parameter with a special value, so that a write to it is noticed."""
    return nn.Parameter(torch.full(shape, UNTOUCHED))


class WritesInEveryWay(nn.Module):
    """Initialises its parameter in every way that published model code does."""

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
    """Buffers made by arithmetic and in place, persistent and not; one of them is made from a parameter."""

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

    def test_requires_grad_is_kept(self):
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

    def test_tensors_without_a_storage_of_their_own_are_left_alone(self):
        """Sparse tensors, and parameters that get their shape in the first forward."""

        def odd():
            module = nn.LazyLinear(4)
            sparse = torch.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2), check_invariants=True)
            module.register_buffer("adjacency", sparse.mul_(2).to_dense())
            module.frozen = nn.Parameter(sparse.clone(), requires_grad=False)
            module.frozen.zero_()
            return module

        model = build(odd, values=False)
        assert model.adjacency.tolist() == [[0, 4], [6, 0]]
        assert isinstance(model.weight, nn.UninitializedParameter)

    def test_a_buffer_at_the_address_of_a_discarded_parameter_is_computed(self):
        """Allocators reuse the address of freed memory, which must not count as the memory of a parameter then."""

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
        """Writes are dropped only in the thread that builds."""
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
    def test_refuses_any_other_object_than_a_module(self, answer):
        with pytest.raises(
            BuildError, match=r"build_model returned a \w+, expected a torch\.nn\.Module\. The plugin"
        ) as e:
            build(lambda: answer, values=True)
        assert (e.value.expected, e.value.found) == ("torch.nn.Module", type(answer).__name__)

    def test_on_the_meta_device_takes_no_memory(self):
        model = build(lambda: nn.Linear(10**6, 10**6), values=False, device="meta")
        assert model.weight.is_meta

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
