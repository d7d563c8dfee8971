"""The steps that `create` and `load` share: a file into a model that is built, and what plugins do to it after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.build import UnwrittenCheck, build
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.load import LoadOptions, Write, exchange, load_state
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import PluginError, listing

if TYPE_CHECKING:
    from torch import nn

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.plugins import Plugin
    from registry_core.report import LoadReport
    from registry_core.services import Services


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read, and how.

    Attributes:
        path: of the checkpoint.
        convert: the file's tensors under the model's names.
        strict: whether anything left over on either side is an error.
        write: puts values in place.
        keep: whether what the file lacks keeps the values that it has; otherwise it gets random ones.
    """

    path: Path
    convert: Callable[[Mapping[str, LazyTensor]], Conversion]
    strict: bool
    write: Write = exchange
    keep: bool = False


def read_checkpoint(services: Services, model: nn.Module, report: LoadReport, reading: Reading) -> Conversion:
    """Read the file into the model, and say in the report what became of each name.

    Args:
        services: whose plugins build and convert.
        model: of the report's config and tower.
        report: its `mapped` says whether to map the file; nothing is noted in it where reading fails.
        reading: what to read.

    Raises:
        CheckpointError: the file is not to be read, or not the model's.
    """
    make: Callable[[str | None], nn.Module] = partial(services.build, report.config)
    with CheckpointFile(reading.path) as file:
        index = read_index(file)
        conversion = reading.convert(index.tensors)
        ignored: frozenset[str] = frozenset()
        if report.tower is not None:  # what the whole model has and this tower has not is no stranger
            ignored = frozenset(build(partial(make, None), values=False).state_dict()) - set(model.state_dict())
        fresh = None if reading.keep else partial(build, partial(make, report.tower), values=True)
        options = LoadOptions(reading.strict, report.mapped, ignored, fresh, write=reading.write)
        outcome = load_state(model, conversion, file, options, report.name)
    report.format, report.kind = index.format, conversion.kind
    report.notes += index.notes
    report.left_to_owner = list(conversion.left_to_owner)
    report.loaded, report.missing, report.unexpected = outcome.loaded, outcome.missing, outcome.unexpected
    report.misshaped, report.adapted, report.cast = outcome.misshaped, outcome.adapted, dict(outcome.cast)
    return conversion


def finish(
    services: Services, owner: Plugin, model: nn.Module, report: LoadReport, conversions: Sequence[Conversion]
) -> nn.Module:
    """Let plugins finish the model: its owner first, then the others by distribution.

    Args:
        services: whose plugins.
        owner: of the model's config.
        model: loaded.
        report: the plugins that ran are noted in it.
        conversions: what they left to the owner must be written after this.

    Returns:
        The model, or what a plugin put in its place.

    Raises:
        PluginError: a plugin failed, or left parameters unwritten.
    """
    promises = [conversion for conversion in conversions if conversion.left_to_owner]
    check = UnwrittenCheck(model, lambda name: any(promise.leaves(name) for promise in promises)) if promises else None
    for plugin in (owner, *(other for other in services.host if other is not owner)):
        if "post_load" in plugin.hooks:
            replacement = services.post_load(plugin, model, report)
            report.post_load.append(f"{plugin.name}, replaced" if replacement is not None else plugin.name)
            model = model if replacement is None else replacement.eval()
    if check is not None:
        _refuse_unwritten(check, owner, report.name)
    return model


def _refuse_unwritten(check: UnwrittenCheck, owner: Plugin, name: str) -> None:
    unwritten = check.unwritten()
    if unwritten:
        raise PluginError(
            f"Plugin {owner} left {len(unwritten)} parameters of {name} unwritten: {listing(unwritten, 5)}. Its "
            "conversion said that its post_load writes them. Nothing was returned, since unwritten memory is garbage. "
            "Write them in place under torch.no_grad(); writes through `.data` leave no trace."
        )
