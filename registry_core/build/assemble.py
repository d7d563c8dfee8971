"""The model of a build request: build, load, post_load, precision, device."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from registry_core.build.loading import Reading, finish, read_checkpoint
from registry_core.build.request import BuildRequest
from registry_core.build.surroundings import usual_surroundings
from registry_core.build.tower_weights import load_tower
from registry_core.build.uninitialised import build
from registry_core.fetch.sources import without_secrets
from registry_core.report import LoadReport
from registry_core.towers.precision import apply_precision

if TYPE_CHECKING:
    from torch import nn

    from registry_core.checkpoint.index import Conversion
    from registry_core.fetch.contract import Fetched
    from registry_core.resolve.services import Services

logger = logging.getLogger(__name__)


@usual_surroundings()
def assemble(services: Services, request: BuildRequest, fetched: Fetched | None) -> nn.Module:
    """Return the finished model, with its report as `registry_report`.

    Args:
        services: Their plugins build and finish the model.
        request: What to build.
        fetched: The checkpoint, or None for random values or an empty shell.

    Raises:
        CheckpointError: The file cannot be read, or does not fit the model.
        PluginError: A plugin failed, or left parameters unwritten.
    """
    report = _report(request, fetched)
    make = partial(services.build, request.config.config)
    shell = request.device == "meta"
    model = build(partial(make, request.tower), values=fetched is None and not shell, device="meta" if shell else "cpu")
    apply_precision(model, request.precision, values=fetched is None)
    if not shell:
        conversions = [] if fetched is None else [_read(services, request, fetched, model, report)]
        conversions += [load_tower(services, request, model, report, tower) for tower in sorted(request.tower_files)]
        model = finish(services, request.resolved.owner, model, report, conversions)
        apply_precision(model, request.precision)
        model = model if request.device == "cpu" else model.to(request.device)
    setattr(model, "registry_report", report)  # noqa: B010 - nn.Module is typed as holding tensors and modules only
    weights = without_secrets(report.weights)
    logger.info("created %s: %s, %s on %s", report.name, weights, report.precision, report.device)
    return model


def _report(request: BuildRequest, fetched: Fetched | None) -> LoadReport:
    resolved = request.resolved
    report = LoadReport(resolved.name, request.config.config, str(resolved.plugin), str(resolved.owner))
    report.precision, report.device, report.tower = request.precision, request.device, request.tower
    report.settled, report.home = request.config.settings, resolved.home
    report.trained, report.tower_files = request.config.trained, dict(request.tower_files)
    if request.found is not None and fetched is not None:
        report.weights = str(request.found.weights)
        # A separate tower file has no known licence, so neither has the model.
        report.licence = "" if request.tower_files else request.found.weights.licence
        report.path, report.cached, report.known_sha256 = fetched.path, fetched.cached, fetched.sha256
        report.mapped = request.mmap or fetched.cached
    elif request.device == "meta":
        report.weights = "none: an empty shell"
    return report


def _read(
    services: Services, request: BuildRequest, fetched: Fetched, model: nn.Module, report: LoadReport
) -> Conversion:
    convert = partial(services.convert, request.config.config, request.config.trained)
    return read_checkpoint(services, model, report, Reading(fetched.path, convert, request.strict))
