"""The contract with plugins, as tests that a plugin's own test suite runs. They need pytest: registry_core[test].

    from registry_core.testing import ArchitectureContract

    class TestContract(ArchitectureContract):
        plugin = "my_clip"
        small = {"embed_dim": 32, "vision_cfg": {...}, "text_cfg": {...}}

A plugin without an architecture, for example one that only provides tags, uses PluginContract.
"""

import pytest

# This must run before the modules are imported, so that their failing asserts show the compared values.
pytest.register_assert_rewrite("registry_core.testing.plugin_contract", "registry_core.testing.architecture_contract")

from registry_core.testing.architecture_contract import ArchitectureContract  # noqa: E402
from registry_core.testing.plugin_contract import PluginContract  # noqa: E402

__all__ = ["ArchitectureContract", "PluginContract"]
