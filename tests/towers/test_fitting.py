"""Position embeddings for another image size or context length than they were trained for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from registry_core import CheckpointError

PATCH, STRIDE = 8, 32  # of `small`; of a ModifiedResNet


def resized(table, held, wanted):
    """The class token as it is, the patches by antialiased bicubic interpolation."""
    grid = table[1:].reshape(1, *held, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=wanted, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([table[:1], grid.permute(0, 2, 3, 1).reshape(wanted[0] * wanted[1], -1)])


@pytest.fixture
def trained(small, save):
    """trained(rows, columns) -> path and state of a `small` on that grid, which is a model `trained`."""

    def train(rows, columns):
        raw = small.config("small").raw()
        raw["vision_cfg"]["image_size"] = [rows * PATCH, columns * PATCH]
        small.add_config(raw, "trained")
        state = small.create("trained", pretrained=False).state_dict()
        return save(state), state

    return train


class TestGrids:
    @pytest.mark.parametrize(
        ("held", "wanted"),
        [((4, 4), (6, 6)), ((4, 4), (2, 2)), ((4, 4), (3, 7)), ((2, 8), (5, 5)), ((2, 8), (3, 6)), ((1, 1), (4, 4)),
         ((2, 8), (4, 4)), ((4, 4), (2, 8)), ((8, 2), (2, 8)), ((3, 5), (5, 3))],
        ids=str,
    )  # fmt: skip
    def test_are_resized_as_by_interpolation(self, small, trained, held, wanted):
        """The last four pairs have as many tokens before as after: the count alone would leave them scrambled."""
        path, state = trained(*held)
        model = small.create("trained", path, image_size=(wanted[0] * PATCH, wanted[1] * PATCH))
        name = "visual.positional_embedding"
        assert torch.allclose(model.state_dict()[name], resized(state[name], held, wanted), atol=1e-6)
        note = f"resized {held[0]}x{held[1]} -> {wanted[0]}x{wanted[1]}, bicubic"
        assert small.report(model).adapted == {name: note}
        with torch.no_grad():
            image = torch.rand(1, 3, wanted[0] * PATCH, wanted[1] * PATCH)
            assert torch.isfinite(model.encode_image(image)).all()
        for other, tensor in model.state_dict().items():
            assert other == name or torch.equal(tensor, state[other])

    def test_are_left_alone_where_nothing_changes(self, small, trained):
        path, state = trained(2, 8)
        model = small.create("trained", path)
        assert torch.equal(model.visual.positional_embedding, state["visual.positional_embedding"])
        assert small.report(model).adapted == {}

    def test_a_file_of_the_wanted_grid_is_taken_as_it_is(self, small, trained):
        """A user's fine-tuned file: the config's own grid is not the file's, the overridden one is."""
        path, state = trained(6, 6)
        model = small.create("small", path, image_size=6 * PATCH)
        assert torch.equal(model.visual.positional_embedding, state["visual.positional_embedding"])
        assert small.report(model).adapted == {}

    def test_a_square_number_of_tokens_is_a_square_grid(self, small, trained):
        path, state = trained(6, 6)
        model = small.create("small", path)
        name = "visual.positional_embedding"
        assert torch.allclose(model.state_dict()[name], resized(state[name], (6, 6), (4, 4)), atol=1e-6)

    def test_another_number_is_refused(self, small, trained):
        path, _ = trained(3, 5)
        with pytest.raises(CheckpointError) as caught:
            small.create("small", path)
        assert (caught.value.expected, caught.value.found) == (16, 15)

    @pytest.mark.parametrize("shape", [(), (32,), (0, 32), (1, 32), (1, 17, 32)], ids=str)
    def test_what_is_no_table_is_refused(self, small, state, save, shape):
        state["visual.positional_embedding"] = torch.zeros(shape)
        with pytest.raises(CheckpointError, match=r"visual\.positional_embedding \(file|image position embeddings"):
            small.create("small", save(state))

    def test_of_a_resnet(self, registry, save):
        state = registry.create("tiny-rn", pretrained=False).state_dict()
        model = registry.create("tiny-rn", save(state), image_size=(3 * STRIDE, 4 * STRIDE))
        name = "visual.attnpool.positional_embedding"
        assert torch.allclose(model.state_dict()[name], resized(state[name], (2, 2), (3, 4)), atol=1e-6)

    def test_in_half_precision(self, small, trained, save):
        _, state = trained(4, 4)
        half = {name: tensor.half() for name, tensor in state.items()}
        model = small.create("trained", save(half), image_size=6 * PATCH)
        name = "visual.positional_embedding"
        assert torch.allclose(
            model.state_dict()[name], resized(half[name].float(), (4, 4), (6, 6)).half().float(), atol=1e-6
        )
        assert sum(small.report(model).cast.values()) == len(state)

    def test_of_a_whole_daclip(self, small, save):
        state = small.create("daclip_small", pretrained=False).state_dict()
        model = small.create("daclip_small", save(state), image_size=6 * PATCH)
        for name in ("visual.positional_embedding", "visual_control.positional_embedding"):
            assert torch.allclose(model.state_dict()[name], resized(state[name], (4, 4), (6, 6)), atol=1e-6)
        assert model.visual is model.clip.visual


class TestContexts:
    @pytest.mark.parametrize("length", [8, 15, 17, 32])
    def test_are_interpolated(self, small, write, state, length):
        model = small.create("small", write("torch"), context_length=length)
        expected = F.interpolate(state["positional_embedding"].T[None], size=length, mode="linear")[0].T
        assert torch.allclose(model.positional_embedding, expected, atol=1e-6)
        assert small.report(model).adapted == {"positional_embedding": f"resized 16 -> {length}, linear"}
        assert model.encode_text(torch.randint(1, 59, (2, length))).shape == (2, 16)

    @pytest.mark.parametrize("shape", [(), (32,), (0, 32)], ids=str)
    def test_what_is_no_table_is_refused(self, small, state, save, shape):
        state["positional_embedding"] = torch.zeros(shape)
        with pytest.raises(CheckpointError, match=r"  of another shape: positional_embedding \(file \["):
            small.create("small", save(state))
