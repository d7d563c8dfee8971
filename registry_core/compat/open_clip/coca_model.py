"""The CoCa class of the plugin that provides it."""

from __future__ import annotations

from registry_core.compat.open_clip.offered import class_lookup

__getattr__ = class_lookup(__name__, "CoCa")
