"""registry_core.testing.loading leaves the settings of torch unchanged."""

from __future__ import annotations

import pytest
import torch

from registry_core.testing.loading import filled_with_nan


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_filled_with_nan_restores_the_settings_of_torch(before):
    enabled, warn_only = before
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    try:
        with filled_with_nan():
            assert torch.empty(3).isnan().all()
        found = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        assert found == before
    finally:
        torch.use_deterministic_algorithms(mode=False)
