"""The load report: what happened when a model was created. The model keeps it; `str` makes a table of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.config.model import ModelConfig
from registry_core.config.overrides import Setting
from registry_core.errors import RegistryError
from registry_core.fetch.digest import file_sha256
from registry_core.fetch.repository import ModelRepository
from registry_core.fetch.sources import LocalFile
from registry_core.render import facts

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 6  # items of a list in the table


@dataclass(slots=True)
class LoadReport:
    """Provenance of a created model.

    Attributes:
        name: Name of the model.
        config: The config that the model was built from, after all overrides.
        plugin: The plugin that provides the name.
        owner: The plugin that builds the architecture.
        weights: The tag or file of the weights, or another description of the parameter values.
        path: The file that was read; None for random values and empty shells.
        cached: Whether the file is in the cache of registry_core.
        format: File format.
        kind: The contents of the file, as the owner recognised them.
        precision: Precision, as `create` takes it.
        device: Device of the model.
        tower: The only tower that was built, "image" or "text"; None for the whole model.
        mapped: Whether the parameters may be memory-mapped from the file.
        settled: Config keys that the tag or the caller overrode.
        loaded: Names of parameters and buffers that were read from the file.
        missing: Names that the file lacks. After `create(strict=False)` these parameters have random values; after
            `load(strict=False)` they keep the values from `before`.
        unexpected: Names in the file that the model lacks; not read, only after `strict=False`.
        misshaped: Name -> both shapes, where they differ; not read, only after `strict=False`.
        adapted: Name -> how its tensor was changed to fit the model.
        cast: Dtype change -> number of tensors.
        left_to_owner: Names that the file cannot contain and that the owner wrote itself.
        post_load: Plugins whose `post_load` ran, in order, each with "replaced" if it returned another module.
        notes: Further remarks.
        known_sha256: SHA-256 of a file in the cache, from its record; otherwise empty.
        home: The model repository that the name refers to, or None.
        licence: Licence of the weights; empty if it is not known.
        before: After `load`, the source of the values that it replaced; empty after `create`.
        trained: The config before the caller's overrides. Published weights were trained with it.
        tower_files: Tower, "image" or "text" -> the file that the tower was read from.
    """

    name: str
    config: ModelConfig
    plugin: str
    owner: str
    weights: str = "random values"
    path: Path | None = None
    cached: bool = False
    format: str = ""
    kind: str = ""
    precision: str = "fp32"
    device: str = "cpu"
    tower: str | None = None
    mapped: bool = False
    settled: list[Setting] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    cast: dict[str, int] = field(default_factory=dict)
    left_to_owner: list[str] = field(default_factory=list)
    post_load: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known_sha256: str = ""
    home: ModelRepository | None = None
    licence: str = ""
    before: str = ""
    trained: ModelConfig | None = None
    tower_files: dict[str, Path] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether no file was read, so that all parameters have random values."""
        return self.path is None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file. Of a file in the cache it is the recorded one; of a user's file it is computed now."""
        if self.known_sha256 or self.path is None:
            return self.known_sha256
        return file_sha256(self.path)

    def without_folders(self, text: str) -> str:
        """Return a text of the report, such as `weights`, with paths of the user's files shortened to file names.

        Such a text may be published: it does not show the user's folders.
        """
        paths = [*self.tower_files.values(), *filter(None, [self.path])]
        if self.home is not None and isinstance(self.home.config, LocalFile):
            paths.append(self.home.config.path.parent)
        for path in sorted(set(paths), key=lambda path: len(str(path)), reverse=True):
            text = text.replace(str(path), path.name)
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types, for programs."""
        result = asdict(self)
        result.update(config=self.config.raw(), path=None if self.path is None else str(self.path), random=self.random)
        result["home"] = None if self.home is None else str(self.home.config)
        result["tower_files"] = {tower: str(path) for tower, path in self.tower_files.items()}
        del result["trained"]  # `settled` lists how it differs from `config`
        return result

    def __str__(self) -> str:
        rows = [
            ("model", self.name),
            ("name from", self.plugin),
            ("architecture", self.owner),
            ("weights", self.weights),
            ("file", f"{self.path} (in the cache)" if self.cached else ""),
            ("licence", self.licence),
            ("before", self.before),
            ("format", self.format),
            ("holds", self.kind),
            ("precision", f"{self.precision} on {self.device}"),
            ("tower", self.tower or ""),
            ("overridden", "\n".join(map(str, self.settled))),
            ("loaded", f"{len(self.loaded)} names" if self.loaded else ""),
            ("missing", _some(self.missing)),
            ("unexpected", _some(self.unexpected)),
            ("other shape", _some([f"{name} ({shapes})" for name, shapes in self.misshaped.items()])),
            ("adapted", _some([f"{name}: {what}" for name, what in self.adapted.items()])),
            ("cast", _some([f"{what} ({count} tensors)" for what, count in self.cast.items()])),
            ("left to owner", ", ".join(self.left_to_owner)),
            ("post_load", ", ".join(self.post_load)),
            ("notes", "\n".join(self.notes)),
        ]
        return facts(rows)


def report_of(model: nn.Module) -> LoadReport:
    """Return the load report of a created model.

    Raises:
        RegistryError: The model was not created by `Registry.create`.
    """
    report: LoadReport | None = getattr(model, "registry_report", None)
    if report is None:
        raise RegistryError(
            f"This {type(model).__name__} has no load report: it was not made by registry.create, or it is a part or a "
            "wrapper of such a model.",
            found=type(model).__name__,
            advice="Ask for the report of the model that create() returned.",
        )
    return report


def _some(items: list[str]) -> str:
    shown = "\n".join(items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}\n... and {len(items) - _SHOWN} more"
