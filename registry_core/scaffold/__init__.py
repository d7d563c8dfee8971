"""A package with an architecture of one's own, written from templates; it works and passes its tests at once."""

from registry_core.scaffold.write import Written, next_steps, write_plugin

__all__ = ["Written", "next_steps", "write_plugin"]
