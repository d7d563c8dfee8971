"""The steps that `create` and `load` share: load a file into a built model, and let plugins finish the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.build.load_state import LoadOptions, LoadOutcome, Write, assign, load_state
from registry_core.build.uninitialised import UnwrittenCheck, build
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index
from registry_core.errors import PluginError, StateDictError, UnsafeCheckpointError, listing

if TYPE_CHECKING:
    from torch import nn

    from registry_core.checkpoint.index import CheckpointIndex, Conversion, LazyTensor
    from registry_core.hooks.plugin import Plugin
    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read, and how.

    Attributes:
        path: The checkpoint.
        convert: Converts the file's tensors to the names of the model.
        strict: Whether any difference between file and model is an error.
        write: Writes the values into the model.
        keep_missing: Whether parameters that the file lacks keep their values; otherwise they get random values.
    """

    path: Path
    convert: Callable[[Mapping[str, LazyTensor]], Conversion]
    strict: bool
    write: Write = assign
    keep_missing: bool = False


def read_checkpoint(services: Services, model: nn.Module, report: LoadReport, reading: Reading) -> Conversion:
    """Load a file into a model, and record in the report what was done for each name.

    Args:
        services: Their plugins build and convert.
        model: The model, built from the config and tower of the report.
        report: Its `mapped` states whether to map the file. It stays unchanged if the load fails.
        reading: What to read.

    Raises:
        CheckpointError: The file cannot be read, or does not fit the model.
    """
    make: Callable[[str | None], nn.Module] = partial(services.build, report.config)
    with CheckpointFile(reading.path) as file:
        index = read_index(file)
        conversion = reading.convert(index.tensors)
        ignored: frozenset[str] = frozenset()
        if report.tower is not None:  # tensors of the other tower are not unexpected
            ignored = frozenset(build(partial(make, None), values=False).state_dict()) - set(model.state_dict())
        initialise = None if reading.keep_missing else partial(build, partial(make, report.tower), values=True)
        options = LoadOptions(reading.strict, report.mapped, ignored, initialise, write=reading.write)
        try:
            outcome = load_state(model, conversion, file, options, report.name)
        except StateDictError as error:
            _explain_unread(error, index, reading.path)
            raise
    report.format, report.kind = index.format, conversion.kind
    report.notes += index.notes
    report.left_to_owner = list(conversion.left_to_owner)
    _record(report, outcome)
    return conversion


def _explain_unread(error: StateDictError, index: CheckpointIndex, path: Path) -> None:
    """Raise a better error if a missing parameter is in the file, as an object that is not read."""
    name = next((name for name in error.missing if name in index.unread), None)
    if name is not None:
        kind = index.unread[name]
        raise UnsafeCheckpointError(
            f"{path} holds {name} as an object of {kind}, not as a plain tensor. Reading it could run code. Nothing "
            "was run and nothing was loaded.",
            path=path,
            name=kind,
            advice="If you trust its author, open it where it was made and save the values as plain tensors, "
            "preferably as .safetensors.",
        ) from error


def _record(report: LoadReport, outcome: LoadOutcome) -> None:
    report.loaded, report.missing, report.unexpected = outcome.loaded, outcome.missing, outcome.unexpected
    report.misshaped, report.adapted, report.cast = outcome.misshaped, outcome.adapted, dict(outcome.cast)


def finish(
    services: Services, owner: Plugin, model: nn.Module, report: LoadReport, conversions: Sequence[Conversion]
) -> nn.Module:
    """Let plugins finish the model: its owner first, then the others by distribution.

    Args:
        services: Their plugins finish the model.
        owner: The plugin that owns the model's config.
        model: The loaded model.
        report: The plugins that ran are recorded in it.
        conversions: Plugins must write what these left to the owner.

    Returns:
        The model, or the module that a plugin replaced it with.

    Raises:
        PluginError: A plugin failed, or left parameters unwritten.
    """
    incomplete = [conversion for conversion in conversions if conversion.left_to_owner]
    check = UnwrittenCheck(model, lambda name: any(part.leaves(name) for part in incomplete)) if incomplete else None
    for plugin in (owner, *(other for other in services.plugins() if other is not owner)):
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
            "conversion stated that its post_load writes them. Nothing was returned, because unwritten memory holds "
            "garbage.",
            name=name,
            found=unwritten,
            plugin=owner.name,
            hook="post_load",
            advice="Write them in place under torch.no_grad(); writes through `.data` cannot be detected.",
        )
