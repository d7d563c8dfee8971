"""torch.export and torch.compile take the models whole, with any batch."""

from __future__ import annotations

import pytest
import torch

MODELS = ["tiny", "tiny-rn", "daclip_tiny"]

pytestmark = [
    # the compiler's own chatter about its own parts
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
]


class EncodeImage(torch.nn.Module):
    def __init__(self, model, **arguments):
        super().__init__()
        self.model, self.arguments = model, arguments

    def forward(self, image):
        return self.model.encode_image(image, **self.arguments)


class EncodeText(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, text):
        return self.model.encode_text(text, normalize=True)


@pytest.fixture(params=MODELS)
def model(registry, request):
    torch.manual_seed(0)
    return registry.create(request.param, False)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def cases(model):
    """(module, inputs of two batch sizes) for each encoder."""
    length = model.config.text_cfg.context_length
    images = [torch.randn(n, 3, 64, 64) for n in (2, 3)]
    yield EncodeImage(model), images
    if hasattr(model, "visual_control"):
        yield EncodeImage(model, control=True, normalize=True), images
    yield EncodeText(model), [torch.randint(0, 600, (n, length)) for n in (2, 3)]


def test_export_gives_equal_outputs(model):
    for module, (example, other) in cases(model):
        batch = torch.export.Dim("batch", min=2, max=64)
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
        for given in (example, other):
            with torch.no_grad():
                torch.testing.assert_close(program.module()(given), module(given), atol=1e-5, rtol=1e-5)


def test_compile_has_no_graph_break_and_gives_equal_outputs(model):
    for module, (example, other) in cases(model):
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        for given in (example, other):
            with torch.no_grad():
                torch.testing.assert_close(compiled(given), module(given), atol=1e-5, rtol=1e-5)
    assert torch._dynamo.utils.counters["graph_break"] == {}


@pytest.mark.parametrize("name", ["tiny", "tiny-rn"])
def test_the_whole_forward_compiles(registry, name):
    model = registry.create(name, False)
    image, text = torch.randn(2, 3, 64, 64), torch.randint(0, 600, (2, model.context_length))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(image, text), model(image, text), atol=1e-5, rtol=1e-5)


def test_training_with_patch_dropout_compiles(registry):
    model = registry.create("tiny", False, patch_dropout=0.5).train()
    compiled = torch.compile(model.visual, fullgraph=True, backend="eager")
    compiled(torch.randn(2, 3, 64, 64)).sum().backward()
    assert model.visual.proj.grad.abs().sum() > 0


def test_grad_checkpointing_compiles(registry):
    model = registry.create("tiny", False).train()
    model.set_grad_checkpointing()
    compiled = torch.compile(model.visual, fullgraph=True, backend="eager")
    compiled(torch.randn(2, 3, 64, 64)).sum().backward()
    assert model.visual.conv1.weight.grad.abs().sum() > 0
