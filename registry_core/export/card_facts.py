"""The facts of a model card, from the report, the config and the tensors of a model.

Nothing is guessed. The user's folders are never shown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from registry_core._version import __version__
from registry_core.config.model import ActivationOptions, ModelConfig, TextConfig, VisionConfig
from registry_core.errors import RegistryError, listing
from registry_core.fetch.sources import LocalFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.resolve.services import Services

_MAX_LISTED = 12  # names on one line of the card


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a model card states, as plain text that is not escaped yet.

    Attributes:
        title: Name of the model, or of the folder that it was created from.
        rows: (label, value) pairs of the table.
        changes: (what was done at loading, affected parameters or value) pairs.
    """

    title: str
    rows: list[tuple[str, str]]
    changes: list[tuple[str, str]]


def gather(services: Services, model: nn.Module, report: LoadReport) -> CardFacts:
    """Return the facts about a model. Each tower is built on the meta device to count its parameters separately."""
    rows = [
        *_origin(report),
        *_sizes(services, model, report),
        *_inputs(report.config),
        *_versions(),
    ]
    changes = [(change, affected) for change, affected in _changes(report) if affected]
    return CardFacts(_title(report), [(label, value) for label, value in rows if value], changes)


def _title(report: LoadReport) -> str:
    home = report.home.config if report.home is not None else None
    return home.path.parent.name if isinstance(home, LocalFile) else report.name


def _origin(report: LoadReport) -> Iterator[tuple[str, str]]:
    yield "model", _title(report)
    yield "architecture", report.owner
    yield "weights", report.without_folders(report.weights)
    yield "previous weights", report.before
    for tower, path in report.tower_files.items():
        yield f"weights of the {tower} tower", f"file {path.name}"
    yield "licence of the weights", report.licence
    yield "SHA-256 of the weights file", report.known_sha256


def _sizes(services: Services, model: nn.Module, report: LoadReport) -> Iterator[tuple[str, str]]:
    yield from _parameter_counts(services, model, report)
    yield "tower", f"{report.tower} only" if report.tower else ""
    yield "precision", report.precision
    dtype_of = {id(tensor): str(tensor.dtype) for tensor in model.state_dict(keep_vars=True).values()}
    dtypes = Counter(dtype.removeprefix("torch.") for dtype in dtype_of.values())
    yield "stored dtypes", ", ".join(f"{dtype} ({count} tensors)" for dtype, count in dtypes.most_common())


def _parameter_counts(services: Services, model: nn.Module, report: LoadReport) -> Iterator[tuple[str, str]]:
    names: dict[int, set[str]] = {}  # a shared parameter has several names and is counted once
    sizes = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
        sizes[id(parameter)] = parameter.numel()
    yield "parameters", f"{sum(sizes.values()):,}"
    image, text = _tower_parameters(services, report)
    counts: Counter[str] = Counter()
    for key, aliases in names.items() if image or text else ():
        towers = [tower for tower, of_tower in (("image", image), ("text", text)) if aliases & of_tower]
        counts[f"in the {towers[0]} tower" if len(towers) == 1 else "in both towers or neither"] += sizes[key]
    for where in ("in the image tower", "in the text tower", "in both towers or neither"):
        if counts[where]:
            yield f"parameters {where}", f"{counts[where]:,}"


def _tower_parameters(services: Services, report: LoadReport) -> tuple[set[str], set[str]]:
    """Return the parameter names of the image tower and of the text tower.

    Both are empty if the model is a single tower, or if its plugin cannot build the towers separately.
    """
    from registry_core.build.uninitialised import build

    if report.tower is not None:
        return set(), set()
    try:
        towers = [
            build(partial(services.build, report.config, tower), values=False, device="meta")
            for tower in ("image", "text")
        ]
    except RegistryError:
        return set(), set()
    image, text = ({name for name, _ in tower.named_parameters(remove_duplicate=False)} for tower in towers)
    return image, text


def _inputs(config: ModelConfig) -> Iterator[tuple[str, str]]:
    preprocess = config.preprocess_cfg
    height, width = config.image_size
    yield "embedding size", str(config.embed_dim)
    yield "image size", f"{height} x {width} pixels (height x width)"
    yield "context length", f"{config.text_cfg.context_length} tokens"
    yield "activation", _activation(config)
    yield "mean", ", ".join(map(str, preprocess.mean))
    yield "standard deviation", ", ".join(map(str, preprocess.std))
    yield "interpolation", preprocess.interpolation
    yield "resize mode", preprocess.resize_mode
    yield "fill colour", str(preprocess.fill_color) if preprocess.resize_mode == "longest" else ""


def _activation(config: ModelConfig) -> str:
    """Return the activation of the native transformers. Other towers choose their own."""
    native: dict[str, ActivationOptions | None] = {}
    if isinstance(config.vision_cfg, VisionConfig) and config.vision_cfg.is_vit:
        native["image"] = config.vision_cfg.act_kwargs
    if isinstance(config.text_cfg, TextConfig):
        native["text"] = config.text_cfg.act_kwargs
    found = {}
    for tower, options in native.items():
        tanh = options is not None and options.approximate == "tanh"
        found[tower] = "QuickGELU" if config.quick_gelu else "GELU, approximated by tanh" if tanh else "GELU"
    if len(found) > 1 and len(set(found.values())) == 1:
        return found["image"]
    return "; ".join(f"{tower} tower: {name}" for tower, name in found.items())


def _versions() -> Iterator[tuple[str, str]]:
    import torch

    yield "saved by", f"registry_core {__version__}, torch {torch.__version__}"


def _changes(report: LoadReport) -> Iterator[tuple[str, str]]:
    not_loaded = [*report.missing, *report.misshaped]
    for setting in report.settled:
        yield f"{setting.key}, set by {report.without_folders(setting.by)}", _value(setting.value)
    yield "adapted", _listed(f"{name} ({how})" for name, how in report.adapted.items())
    yield "cast", _listed(f"{dtypes} ({count} tensors)" for dtypes, count in report.cast.items())
    yield f"not loaded, {'previous values kept' if report.before else 'random values'}", _listed(not_loaded)
    yield "in the file, not used", _listed(report.unexpected)
    yield "not in the file, set by the architecture's plugin", _listed(report.left_to_owner)


def _listed(items: Iterable[str]) -> str:
    return listing(items, _MAX_LISTED)


def _value(value: Any) -> str:
    """Return a config value as text. A path on this machine is reduced to its name."""
    if isinstance(value, str):
        for path_type in (PurePosixPath, PureWindowsPath):
            if path_type(value).is_absolute() or value.startswith("~"):
                return path_type(value).name
    return str(value)
