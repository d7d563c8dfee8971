from __future__ import annotations

import pytest
import torch


@pytest.fixture
def model(registry):
    torch.manual_seed(0)
    return registry.create("tiny", False)


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text():
    ids = torch.randint(1, 500, (3, 77), generator=torch.Generator().manual_seed(2))
    ids[:, 20:] = 0
    ids[:, 19] = 599
    return ids
