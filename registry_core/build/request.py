"""What to build: everything that `create` decides before it builds anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from registry_core.config.model import TOWERS
from registry_core.config.overrides import ResolvedConfig
from registry_core.errors import OverrideError
from registry_core.resolve.results import FoundWeights, Resolved
from registry_core.towers.precision import check_precision


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A model to build.

    Attributes:
        resolved: The model name, resolved.
        config: The config after all overrides.
        found: The weights, or None for random values or an empty shell.
        device: Where the model goes; "meta" for an empty shell.
        precision: One of towers.precision.PRECISIONS.
        tower: "image" or "text" for that tower only, or None for both.
        strict: Whether any difference between checkpoint and model is an error.
        mmap: Whether to map the user's file instead of reading it.
        tower_files: For "image" or "text", a checkpoint for that tower alone.
    """

    resolved: Resolved
    config: ResolvedConfig
    found: FoundWeights | None
    device: str
    precision: str
    tower: str | None
    strict: bool
    mmap: bool
    tower_files: Mapping[str, Path] = field(default_factory=dict)

    def checked(self) -> BuildRequest:
        """Return the request, if it can be carried out.

        Raises:
            OverrideError: The device, precision or tower does not exist, or an empty shell was asked to hold weights.
        """
        check_precision(self.precision)
        if self.tower not in (None, *TOWERS):
            raise OverrideError(
                f"tower={self.tower!r}: expected 'image', 'text' or None. Nothing was built.",
                argument="tower",
                expected=(*TOWERS, None),
                found=self.tower,
            )
        if self.device == "meta" and self.found is not None:
            raise OverrideError(
                f"device='meta' makes an empty shell, which cannot hold the weights of {self.found.weights}. Nothing "
                "was built.",
                argument="device",
                found=self.device,
                advice="Leave pretrained= out, or choose a real device.",
            )
        if self.tower_files and (self.device == "meta" or self.tower not in {None, *self.tower_files}):
            raise OverrideError(
                f"image_weights= and text_weights= fill a tower, but with device={self.device!r} and "
                f"tower={self.tower!r} there is no such tower. Nothing was built.",
                argument=f"{min(self.tower_files)}_weights",
                path=self.tower_files[min(self.tower_files)],
            )
        _check_device(self.device)
        return self


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch says "not compiled with CUDA" by assertion
        reason = next(iter(str(error).splitlines()), "")
        raise OverrideError(
            f"device={device!r} cannot be used: {reason}. Nothing was built.", argument="device", found=device
        ) from error
