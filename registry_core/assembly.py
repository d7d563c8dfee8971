"""The second half of the line, where torch comes in: build, load, post_load, precision, device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from registry_core.build import build
from registry_core.config import TOWERS
from registry_core.errors import OverrideError
from registry_core.loading import Reading, finish, read_checkpoint
from registry_core.precision import apply_precision, check_precision
from registry_core.report import LoadReport
from registry_core.tower_weights import load_tower

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from registry_core.checkpoint.index import Conversion
    from registry_core.factory import Registry
    from registry_core.fetch import Fetched
    from registry_core.lookup import FoundWeights, Resolved
    from registry_core.services import Services
    from registry_core.settle import Settled


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that is decided before anything is built; `tower_files` has a checkpoint for "image" or "text"."""

    resolved: Resolved
    settled: Settled
    found: FoundWeights | None
    device: str
    precision: str
    tower: str | None
    strict: bool
    mmap: bool
    tower_files: Mapping[str, Path] = field(default_factory=dict)

    def checked(self) -> Order:
        """The order, if it can be carried out.

        Raises:
            OverrideError: a device, precision or tower that is not, or weights for an empty shell.
        """
        check_precision(self.precision)
        if self.tower not in (None, *TOWERS):
            raise OverrideError(f"tower={self.tower!r}: expected 'image', 'text' or None. Nothing was built.")
        if self.device == "meta" and self.found is not None:
            raise OverrideError(
                f"device='meta' makes an empty shell, which cannot hold the weights of {self.found.weights}. Nothing "
                "was built. Leave pretrained= out, or choose a real device."
            )
        if self.tower_files and (self.device == "meta" or self.tower not in {None, *self.tower_files}):
            raise OverrideError(
                f"image_weights= and text_weights= fill a tower, and with device={self.device!r} and "
                f"tower={self.tower!r} there is none to fill. Nothing was built."
            )
        _check_device(self.device)
        return self


def assemble(registry: Registry, order: Order, fetched: Fetched | None) -> nn.Module:
    """The finished model.

    Args:
        registry: whose plugins build and finish it.
        order: what to make.
        fetched: the checkpoint, or None for random values or an empty shell.

    Raises:
        CheckpointError: the file is not to be read, or not the model's.
        PluginError: a plugin failed, or left parameters unwritten.
    """
    report, services = _report(order, fetched), registry.services
    make = partial(services.build, order.settled.config)
    shell = order.device == "meta"
    model = build(partial(make, order.tower), values=fetched is None and not shell, device="meta" if shell else "cpu")
    apply_precision(model, order.precision, values=fetched is None)
    if not shell:
        conversions = [] if fetched is None else [_read(services, order, fetched, model, report)]
        conversions += [load_tower(services, order, model, report, tower) for tower in sorted(order.tower_files)]
        model = finish(services, order.resolved.owner, model, report, conversions)
        apply_precision(model, order.precision)
        model = model if order.device == "cpu" else model.to(order.device)
    model.registry_report = report  # type: ignore[assignment] # goes with copies and pickles of the model
    return model


def _report(order: Order, fetched: Fetched | None) -> LoadReport:
    resolved = order.resolved
    report = LoadReport(resolved.name, order.settled.config, str(resolved.plugin), str(resolved.owner))
    report.precision, report.device, report.tower = order.precision, order.device, order.tower
    report.settled, report.home = order.settled.settings, resolved.home
    report.trained, report.tower_files = order.settled.trained, dict(order.tower_files)
    if order.found is not None and fetched is not None:
        report.weights = str(order.found.weights)
        # Of a tower from a file of its own, the licence is not known; so that of the whole is not either.
        report.licence = "" if order.tower_files else order.found.weights.licence
        report.path, report.cached, report.known_sha256 = fetched.path, fetched.cached, fetched.sha256
        report.mapped = order.mmap or fetched.cached
    elif order.device == "meta":
        report.weights = "none: an empty shell"
    return report


def _read(services: Services, order: Order, fetched: Fetched, model: nn.Module, report: LoadReport) -> Conversion:
    convert = partial(services.convert, order.settled.config, order.settled.trained)
    return read_checkpoint(services, model, report, Reading(fetched.path, convert, order.strict))


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch says "not compiled with CUDA" by assertion
        reason = next(iter(str(error).splitlines()), "")
        raise OverrideError(f"device={device!r} cannot be used: {reason}. Nothing was built.") from error
