"""Test suites of packages that were written for a former version of the contract suite keep working."""

from __future__ import annotations

import pytest
import torch

from registry_core.testing import ArchitectureContract


class Former(ArchitectureContract):
    """Overrides `pictures`, the former name of `images`."""

    def pictures(self, config):
        return super().pictures(config) + 1


class Current(ArchitectureContract):
    def images(self, config):
        return super().images(config) + 1


@pytest.fixture
def config(registry):
    return registry.config("tiny")


@pytest.mark.parametrize("suite", [Former, Current])
def test_an_overridden_method_makes_the_images(suite, config):
    default = ArchitectureContract().images(config)
    assert default.shape == (2, 3, 64, 64)
    assert torch.equal(suite().images(config), default + 1)


def test_the_former_name_can_be_called(config):
    contract = ArchitectureContract()
    assert torch.equal(contract.pictures(config), contract.images(config))
