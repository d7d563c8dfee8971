"""Load a checkpoint into an existing model, in place: the second half of `create`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.build.in_place import InPlace
from registry_core.build.loading import Reading, finish, read_checkpoint
from registry_core.build.surroundings import usual_surroundings
from registry_core.errors import BuildError, CheckpointError, PluginError
from registry_core.fetch.sources import LocalFile, Weights
from registry_core.report import LoadReport

if TYPE_CHECKING:
    from torch import nn

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.resolve.services import Services


@usual_surroundings()
def load_into(services: Services, model: nn.Module, previous: LoadReport, path: Path, *, strict: bool) -> LoadReport:
    """Load a file into a model. If this fails, the model and its report are unchanged.

    Args:
        services: Their plugins convert the file and finish the model.
        model: The model. Its tensors keep identity, memory, device and dtype.
        previous: The report of the model, which the new report replaces.
        path: The checkpoint.
        strict: Whether any difference between file and model is an error.

    Returns:
        The new report.

    Raises:
        BuildError: The model is an empty shell.
        CheckpointError: The file cannot be read, or does not fit the model.
        PluginError: A plugin failed, left parameters unwritten, or would replace the model by another module.
    """
    model = getattr(model, "_orig_mod", model)  # the wrapper of torch.compile adds this prefix to every name
    _refuse_shell(model, previous.name)
    report = _new_report(model, previous, path)
    target = InPlace(model)
    reading = Reading(path, partial(_convert, services, model, previous), strict, target.write, keep_missing=True)
    try:
        conversion = read_checkpoint(services, model, report, reading)
        finished = finish(services, services.owner(previous.config), model, report, [conversion])
        _refuse_replacement(model, finished, report)
    except BaseException:
        target.undo()
        raise
    unwritten = len(report.missing) + len(report.misshaped)
    if unwritten:
        report.notes.append(
            f"{unwritten} names of the model were not written: they keep the values from {previous.weights}"
        )
    setattr(model, "registry_report", report)  # noqa: B010 - nn.Module is typed as holding tensors and modules only
    return report


def _new_report(model: nn.Module, previous: LoadReport, path: Path) -> LoadReport:
    """Return a report that keeps what describes the model, without what describes its previous weights."""
    return LoadReport(
        previous.name,
        previous.config,
        previous.plugin,
        previous.owner,
        weights=str(Weights((LocalFile(path),))),
        path=path,
        precision=previous.precision,
        device=next((str(tensor.device) for tensor in model.state_dict().values()), previous.device),
        tower=previous.tower,
        settled=list(previous.settled),
        home=previous.home,
        trained=previous.trained,
        before=previous.without_folders(previous.weights),
    )


def _convert(
    services: Services, model: nn.Module, previous: LoadReport, tensors: Mapping[str, LazyTensor]
) -> Conversion:
    """Convert a file for the config of the model, or for the config of its published weights.

    The model may be built for another image size than its published weights. The file may have been saved before or
    after that change. The conversion that changes fewer tensors is the right one.
    """
    config = previous.config
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    candidates: list[Conversion] = []
    failures: list[CheckpointError] = []
    published = previous.trained  # compared instead of hashed, because configs may hold mappings
    for trained in [config] if published is None or published == config else [published, config]:
        try:
            candidates.append(services.convert(config, trained, tensors))
        except CheckpointError as error:
            failures.append(error)
    if not candidates:
        raise failures[0]

    def changes(conversion: Conversion) -> tuple[int, int]:
        known = [(shapes[name], tensor) for name, tensor in conversion.state.items() if name in shapes]
        return sum(shape != tensor.shape for shape, tensor in known), sum(bool(tensor.note) for _, tensor in known)

    return min(candidates, key=changes)


def _refuse_shell(model: nn.Module, name: str) -> None:
    shell = next((key for key, tensor in model.state_dict().items() if tensor.is_meta), None)
    if shell is not None:
        raise BuildError(
            f"Nothing was loaded into {name}: its {shell} has no memory, because device='meta' makes an empty shell.",
            name=name,
            found="meta",
            advice="Create it on a real device, with the file as pretrained=.",
        )


def _refuse_replacement(model: nn.Module, finished: nn.Module, report: LoadReport) -> None:
    if finished is not model:
        replacing = [entry.removesuffix(", replaced") for entry in report.post_load if entry.endswith(", replaced")]
        raise PluginError(
            f"A plugin would replace {report.name} by another module (post_load of {'; '.join(report.post_load)}), "
            "which is not possible for a model that is in use. The model is unchanged.",
            name=report.name,
            plugin=replacing[-1],
            hook="post_load",
            advice="Create a new model with the file as pretrained=.",
        )
