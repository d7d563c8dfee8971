"""torch.export and torch.compile take the encoders whole, with any batch."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    # the compiler's own chatter about its own parts
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
]


class Method(torch.nn.Module):
    def __init__(self, model, name):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, given):
        return getattr(self.model, self.name)(given)


@pytest.fixture(params=["encode_image", "encode_text"])
def case(request, model):
    """A module and inputs of two batch sizes."""
    images = [torch.randn(n, 3, 32, 32) for n in (2, 3)]
    texts = [torch.randint(0, 40, (n, 12)) for n in (2, 3)]
    return Method(model, request.param), images if request.param == "encode_image" else texts


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@torch.no_grad()
def test_export_gives_equal_outputs(case):
    module, (example, other) = case
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},)).module()
    for given in (example, other):
        torch.testing.assert_close(program(given), module(given), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_compile_has_no_graph_break_and_gives_equal_outputs(case):
    module, inputs = case
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for given in inputs:
        torch.testing.assert_close(compiled(given), module(given), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_whole_forward_compiles(model, image, text):
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(image, text), model(image, text), atol=1e-5, rtol=1e-5)
