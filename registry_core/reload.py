"""A checkpoint into a model that is there: the second half of `create`, in place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.checkpoint.in_place import InPlace
from registry_core.errors import BuildError, CheckpointError, PluginError
from registry_core.loading import Reading, finish, read_checkpoint
from registry_core.report import LoadReport
from registry_core.weights import LocalFile, Weights

if TYPE_CHECKING:
    from torch import nn

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.services import Services


def load_into(services: Services, model: nn.Module, former: LoadReport, path: Path, *, strict: bool) -> LoadReport:
    """Read a file into a model; where that fails, model and report are as before.

    Args:
        services: whose plugins convert and finish.
        model: its tensors keep identity, memory, device and dtype.
        former: the model's report, which the new one takes the place of.
        path: of the checkpoint.
        strict: whether anything left over on either side is an error.

    Raises:
        BuildError: the model is an empty shell.
        CheckpointError: the file is not to be read, or not the model's.
        PluginError: a plugin failed, left parameters unwritten, or would put another module in the model's place.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper puts this before every name
    _refuse_shell(model, former.name)
    report = _report(model, former, path)
    target = InPlace(model)
    reading = Reading(path, partial(_convert, services, model, former), strict, target.write, keep=True)
    try:
        conversion = read_checkpoint(services, model, report, reading)
        finished = finish(services, services.lookup.owner(former.config), model, report, [conversion])
        _refuse_replacement(model, finished, report)
    except BaseException:
        target.undo()
        raise
    left = len(report.missing) + len(report.misshaped)
    if left:
        report.notes.append(f"{left} names of the model were not written: they keep the values from {former.weights}")
    model.registry_report = report
    return report


def _report(model: nn.Module, former: LoadReport, path: Path) -> LoadReport:
    """A new report: what the model is stays, what was read into it does not."""
    return LoadReport(
        former.name,
        former.config,
        former.plugin,
        former.owner,
        weights=str(Weights((LocalFile(path),))),
        path=path,
        precision=former.precision,
        device=next((str(tensor.device) for tensor in model.state_dict().values()), former.device),
        tower=former.tower,
        settled=list(former.settled),
        home=former.home,
        trained=former.trained,
        before=former.without_folders(former.weights),
    )


def _convert(services: Services, model: nn.Module, former: LoadReport, tensors: Mapping[str, LazyTensor]) -> Conversion:
    """The file as one of this very model, or as one of its published weights: whichever needs less to be changed.

    The model's config may ask for another picture than its weights were trained with, and a file may be of before or
    of after that.
    """
    config = former.config
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found: list[Conversion] = []
    failures: list[CheckpointError] = []
    published = former.trained  # compared, not hashed: configs may hold mappings
    for trained in [config] if published is None or published == config else [published, config]:
        try:
            found.append(services.convert(config, trained, tensors))
        except CheckpointError as error:
            failures.append(error)
    if not found:
        raise failures[0]

    def cost(conversion: Conversion) -> tuple[int, int]:
        known = [(shapes[name], tensor) for name, tensor in conversion.state.items() if name in shapes]
        return sum(shape != tensor.shape for shape, tensor in known), sum(bool(tensor.note) for _, tensor in known)

    return min(found, key=cost)


def _refuse_shell(model: nn.Module, name: str) -> None:
    shell = next((key for key, tensor in model.state_dict().items() if tensor.is_meta), None)
    if shell is not None:
        raise BuildError(
            f"Nothing was loaded into {name}: its {shell} has no memory, since device='meta' makes an empty shell. "
            "Create it on a real device, with the file as pretrained=."
        )


def _refuse_replacement(model: nn.Module, finished: nn.Module, report: LoadReport) -> None:
    if finished is not model:
        raise PluginError(
            f"A plugin puts another module in the place of a loaded {report.name} (post_load of "
            f"{'; '.join(report.post_load)}), which cannot be done to a model that is in use. The model is as it was. "
            "Create a new one with the file as pretrained=."
        )
