"""Write a new plugin package with an architecture, from the templates in template/. It works, and its tests pass."""

from registry_core.scaffold.write import Written, next_steps, write_plugin

__all__ = ["Written", "next_steps", "write_plugin"]
