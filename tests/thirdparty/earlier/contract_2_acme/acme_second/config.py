"""The config of AcmeSecond."""

from __future__ import annotations

from typing import ClassVar

from registry_core import ModelConfig, TextConfig, VisionConfig


class AcmeSecondConfig(ModelConfig):
    """The common keys, for native towers, and one of its own. Keys that are not named here are refused.

    Attributes:
        adapter_width: of the adapter's hidden layer.
    """

    architecture: ClassVar[str] = "acme_second"  # the name of the entry point

    vision_cfg: VisionConfig
    text_cfg: TextConfig
    adapter_width: int = 64
