"""The CoCa class, from the plugin that offers it."""

from __future__ import annotations

from registry_core.compat.open_clip.offered import offered

__getattr__ = offered(__name__, "CoCa")
