"""What a card says of a model: from its report, its config and its tensors. No guess, and no path of the user's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from registry_core.config import ActivationOptions, ModelConfig, TextConfig, VisionConfig
from registry_core.errors import RegistryError, listing
from registry_core.weights import LocalFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from registry_core.report import LoadReport
    from registry_core.services import Services

_MOST = 12  # names that a line lists


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Plain texts, not yet escaped.

    Attributes:
        title: the model's name; of a folder, the folder's.
        rows: what and value.
        changes: what was done at loading, and to which names.
    """

    title: str
    rows: list[tuple[str, str]]
    changes: list[tuple[str, str]]


def gather(services: Services, model: nn.Module, report: LoadReport) -> CardFacts:
    """The facts about a model; towers are built on the meta device to count their parameters apart."""
    rows = [
        *_origin(report),
        *_sizes(services, model, report),
        *_inputs(report.config),
        *_versions(),
    ]
    changes = [(what, names) for what, names in _changes(report) if names]
    return CardFacts(_title(report), [(name, value) for name, value in rows if value], changes)


def _title(report: LoadReport) -> str:
    home = report.home.config if report.home is not None else None
    return home.path.parent.name if isinstance(home, LocalFile) else report.name


def _origin(report: LoadReport) -> Iterator[tuple[str, str]]:
    yield "model", _title(report)
    yield "architecture", report.owner
    yield "weights", report.without_folders(report.weights)
    yield "before these", report.before
    for tower, path in report.tower_files.items():
        yield f"{tower} tower from", f"file {path.name}"
    yield "licence of the weights", report.licence
    yield "SHA-256 of their file", report.known_sha256


def _sizes(services: Services, model: nn.Module, report: LoadReport) -> Iterator[tuple[str, str]]:
    names: dict[int, set[str]] = {}
    sizes = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
        sizes[id(parameter)] = parameter.numel()
    yield "parameters", f"{sum(sizes.values()):,}"
    image, text = _tower_names(services, report)
    counts: Counter[str] = Counter()
    for key, known in names.items() if image or text else ():
        towers = [tower for tower, own in (("image", image), ("text", text)) if known & own]
        counts[f"in the {towers[0]} tower" if len(towers) == 1 else "in both or neither"] += sizes[key]
    for where in ("in the image tower", "in the text tower", "in both or neither"):
        if counts[where]:
            yield f"parameters {where}", f"{counts[where]:,}"
    yield "tower", f"{report.tower} only" if report.tower else ""
    yield "precision", report.precision
    held = {id(tensor): str(tensor.dtype) for tensor in model.state_dict(keep_vars=True).values()}
    dtypes = Counter(dtype.removeprefix("torch.") for dtype in held.values())
    yield "stored as", ", ".join(f"{dtype} ({count} tensors)" for dtype, count in dtypes.most_common())


def _tower_names(services: Services, report: LoadReport) -> tuple[set[str], set[str]]:
    """The parameters of each tower; none where the model is one of them, or a plugin cannot build them apart."""
    from registry_core.build import build

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
    picture = config.preprocess_cfg
    height, width = config.image_size
    yield "embedding size", str(config.embed_dim)
    yield "picture", f"{height} x {width} pixels, height x width"
    yield "context length", f"{config.text_cfg.context_length} tokens"
    yield "activation", _activation(config)
    yield "mean", ", ".join(map(str, picture.mean))
    yield "standard deviation", ", ".join(map(str, picture.std))
    yield "interpolation", picture.interpolation
    yield "resize mode", picture.resize_mode
    yield "fill colour", str(picture.fill_color) if picture.resize_mode == "longest" else ""


def _activation(config: ModelConfig) -> str:
    """Of the native transformers; other towers have their own."""
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

    from registry_core import __version__

    yield "saved by", f"registry_core {__version__}, torch {torch.__version__}"


def _changes(report: LoadReport) -> Iterator[tuple[str, str]]:
    unread = [*report.missing, *report.misshaped]
    for setting in report.settled:
        yield f"{setting.key}, by {report.without_folders(setting.by)}", _value(setting.value)
    yield "adapted", listing([f"{name} ({what})" for name, what in report.adapted.items()], _MOST)
    yield "cast", listing([f"{what} ({count} tensors)" for what, count in report.cast.items()], _MOST)
    yield "not read, with the values from before" if report.before else "not read, random", listing(unread, _MOST)
    yield "in the file and left out", listing(report.unexpected, _MOST)
    yield "not in the file, written by the architecture's plugin", listing(report.left_to_owner, _MOST)


def _value(value: Any) -> str:
    """A setting's value; of a folder or file of this machine, the name."""
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or value.startswith("~"):
                return kind(value).name
    return str(value)
