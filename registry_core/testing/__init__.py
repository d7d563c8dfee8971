"""The contract that every plugin keeps, as tests that its own test suite runs. Needs pytest: registry_core[test].

    from registry_core.testing import ArchitectureContract

    class TestContract(ArchitectureContract):
        plugin = "my_clip"
        small = {"embed_dim": 32, "vision_cfg": {...}, "text_cfg": {...}}

A plugin without an architecture of its own, one that only brings tags for example, takes PluginContract.
"""

import pytest

# Before the modules are imported: their asserts then show both sides.
pytest.register_assert_rewrite("registry_core.testing.plugin_contract", "registry_core.testing.architecture_contract")

from registry_core.testing.architecture_contract import ArchitectureContract  # noqa: E402
from registry_core.testing.plugin_contract import PluginContract  # noqa: E402

__all__ = ["ArchitectureContract", "PluginContract"]
