"""The second half of the line, where torch comes in: build, load, post_load, precision, device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from registry_core.build import UnwrittenCheck, build
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.load import LoadOptions, load_state
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import OverrideError, PluginError, listing
from registry_core.precision import apply_precision, check_precision
from registry_core.report import LoadReport
from registry_core.tower_weights import load_tower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from registry_core.checkpoint.index import Conversion
    from registry_core.factory import Registry
    from registry_core.fetch import Fetched
    from registry_core.lookup import FoundWeights, Resolved
    from registry_core.plugins import Plugin
    from registry_core.settle import Settled

TOWERS = (None, "image", "text")


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
        if self.tower not in TOWERS:
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
    report = _report(order, fetched)
    make = partial(registry.services.build, order.settled.config)
    shell = order.device == "meta"
    model = build(partial(make, order.tower), values=fetched is None and not shell, device="meta" if shell else "cpu")
    apply_precision(model, order.precision, values=fetched is None)
    if not shell:
        conversions = [] if fetched is None else [_load(registry, order, fetched, model, report)]
        conversions += [
            load_tower(registry.services, order, model, report, tower) for tower in sorted(order.tower_files)
        ]
        promises = [conversion for conversion in conversions if conversion.left_to_owner]
        check = (
            UnwrittenCheck(model, lambda name: any(promise.leaves(name) for promise in promises)) if promises else None
        )
        model = _finish(registry, order, model, report)
        if check is not None:
            _refuse_unwritten(check, order)
        apply_precision(model, order.precision)
        model = model if order.device == "cpu" else model.to(order.device)
    model.registry_report = report  # type: ignore[assignment] # goes with copies and pickles of the model
    return model


def _report(order: Order, fetched: Fetched | None) -> LoadReport:
    resolved = order.resolved
    report = LoadReport(resolved.name, order.settled.config, str(resolved.plugin), str(resolved.owner))
    report.precision, report.device, report.tower = order.precision, order.device, order.tower
    report.settled, report.home = order.settled.settings, resolved.home
    if order.found is not None and fetched is not None:
        report.weights = str(order.found.weights)
        report.path, report.cached, report.known_sha256 = fetched.path, fetched.cached, fetched.sha256
        report.mapped = order.mmap or fetched.cached
    elif order.device == "meta":
        report.weights = "none: an empty shell"
    return report


def _load(registry: Registry, order: Order, fetched: Fetched, model: nn.Module, report: LoadReport) -> Conversion:
    """Read the file into the model, and say in the report what became of each name."""
    services, settled = registry.services, order.settled
    with CheckpointFile(fetched.path) as file:
        index = read_index(file)
        conversion = services.convert(settled.config, settled.trained, index.tensors)
        make: Callable[[str | None], nn.Module] = partial(services.build, settled.config)
        ignored: frozenset[str] = frozenset()
        if order.tower is not None:  # what the whole model has and this tower has not is no stranger
            ignored = frozenset(build(partial(make, None), values=False).state_dict()) - set(model.state_dict())
        fresh = partial(build, partial(make, order.tower), values=True)
        options = LoadOptions(order.strict, report.mapped, ignored, fresh)
        outcome = load_state(model, conversion, file, options, report.name)
    report.format, report.kind = index.format, conversion.kind
    report.notes += index.notes
    report.left_to_owner = list(conversion.left_to_owner)
    report.loaded, report.missing, report.unexpected = outcome.loaded, outcome.missing, outcome.unexpected
    report.misshaped, report.adapted, report.cast = outcome.misshaped, outcome.adapted, dict(outcome.cast)
    return conversion


def _finish(registry: Registry, order: Order, model: nn.Module, report: LoadReport) -> nn.Module:
    """Let plugins finish the model: its owner first, then the others by distribution."""
    host, owner = registry.services.host, order.resolved.owner
    for plugin in (owner, *(other for other in host if other is not owner)):
        if "post_load" in plugin.hooks:
            replacement = host.ask_one(plugin, "post_load", model=model, report=report, registry=registry)
            _check_replacement(plugin, replacement)
            report.post_load.append(f"{plugin.name}, replaced" if replacement is not None else plugin.name)
            model = model if replacement is None else replacement.eval()
    return model


def _check_replacement(plugin: Plugin, answer: object) -> None:
    from torch import nn

    if answer is not None and not isinstance(answer, nn.Module):
        raise PluginError(
            f"Plugin {plugin} answered its hook post_load with a {type(answer).__name__}, expected a torch.nn.Module "
            f"or None. The model was not returned; the fault is in {plugin.location}."
        )


def _refuse_unwritten(check: UnwrittenCheck, order: Order) -> None:
    unwritten = check.unwritten()
    if unwritten:
        raise PluginError(
            f"Plugin {order.resolved.owner} left {len(unwritten)} parameters of {order.resolved.name} unwritten: "
            f"{listing(unwritten, 5)}. Its conversion said that its post_load writes them. The model was not returned, "
            "since unwritten memory is garbage. Write them in place under torch.no_grad(); writes through `.data` "
            "leave no trace."
        )


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch says "not compiled with CUDA" by assertion
        reason = next(iter(str(error).splitlines()), "")
        raise OverrideError(f"device={device!r} cannot be used: {reason}. Nothing was built.") from error
