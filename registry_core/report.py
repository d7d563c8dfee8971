"""What happened when a model was created: kept on the model, printed as a table."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from registry_core.config import ModelConfig
from registry_core.home import Home
from registry_core.render import facts
from registry_core.weights import LocalFile

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Setting:
    """A config key whose value did not come from the model's own config.

    Attributes:
        key: dotted, such as "vision_cfg.image_size".
        value: what holds now.
        by: who said so: "the caller" or "tag 'openai'".
    """

    key: str
    value: Any
    by: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value} (by {self.by})"


@dataclass(slots=True)
class LoadReport:
    """Provenance of a created model.

    Attributes:
        name: the model's name.
        config: as it was built, after settling.
        plugin: who brought the name; `owner`: whose architecture it is.
        weights: the tag or file, or how else the values came about.
        path: the file that was read; None for random values and shells.
        cached: whether the file is in registry_core's own cache.
        format: what kind of file it is; `kind`: what the owner recognised in it.
        settled: config keys that the tag or the caller decided.
        loaded: parameter and buffer names written from the file.
        missing: names that the file lacks; after `strict=False` they have random values, or keep those of `before`.
        unexpected, misshaped: left out after `strict=False`; the latter with both shapes.
        adapted: names whose tensors were changed to fit, with what was done.
        cast: dtype changes, with how many tensors.
        left_to_owner: what the file cannot hold and the owner wrote itself.
        post_load: plugins whose `post_load` ran, in order, with "replaced" where one gave another module.
        notes: anything else worth knowing.
        home: the folder or repository that the name stands for, if it is one.
        licence: under which the weights were published; empty where it is not known.
        before: after `load`, what the values were from that it replaced; empty after `create`.
        trained: the config before the caller's overrides: what published weights were shaped for.
        tower_files: for "image" or "text", the file that the tower was read from.
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
    home: Home | None = None
    licence: str = ""
    before: str = ""
    trained: ModelConfig | None = None
    tower_files: dict[str, Path] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether every value is random: no file was read."""
        return self.path is None

    @property
    def sha256(self) -> str:
        """Of the file: as recorded in the cache; of a user's file, computed now, from what is there now."""
        if self.known_sha256 or self.path is None:
            return self.known_sha256
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def without_folders(self, text: str) -> str:
        """A text of the report, such as `weights`, for others to read: of the user's files, the name alone."""
        paths = [*self.tower_files.values(), *filter(None, [self.path])]
        if self.home is not None and isinstance(self.home.config, LocalFile):
            paths.append(self.home.config.path.parent)
        for path in sorted(set(paths), key=lambda path: len(str(path)), reverse=True):
            text = text.replace(str(path), path.name)
        return text

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, for programs."""
        result = asdict(self)
        result.update(config=self.config.raw(), path=None if self.path is None else str(self.path), random=self.random)
        result["home"] = None if self.home is None else str(self.home.config)
        result["tower_files"] = {tower: str(path) for tower, path in self.tower_files.items()}
        del result["trained"]  # `settled` says how it differs from `config`
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
            ("settled", "\n".join(map(str, self.settled))),
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


def _some(items: list[str]) -> str:
    shown = "\n".join(items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}\n... and {len(items) - _SHOWN} more"
