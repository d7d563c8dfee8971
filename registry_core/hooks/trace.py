"""A record of the calls to plugins: which plugin was asked what, and what it answered. `explain` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_core.hooks.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Answer:
    """One plugin's answer to one question.

    Attributes:
        plugin: Name of the plugin.
        distribution: Name of its package.
        version: Version of its package.
        file: Path and line of the hook that answered.
        answer: A short description of the answer.
    """

    plugin: str
    distribution: str
    version: str
    file: str
    answer: str


@dataclass(slots=True)
class Step:
    """One question to the plugins.

    Attributes:
        hook: The hook that was called.
        about: What the question is about.
        depth: 0 for a question of the registry itself, 1 for one that a plugin asked to answer it, and so on.
        asked: Names of the plugins, in order.
        answers: The answers that are not None.
    """

    hook: str
    about: str
    depth: int
    asked: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def note(self, plugin: Plugin, answer: object) -> None:
        """Record the answer of a plugin; None means "not mine"."""
        self.asked.append(plugin.name)
        if answer is not None:
            text = f"failed: {answer}" if isinstance(answer, Exception) else _brief(answer)
            file = plugin.location_of(self.hook)
            self.answers.append(Answer(plugin.name, plugin.distribution, plugin.version, file, text))


@dataclass(slots=True)
class _Record:
    steps: list[Step] = field(default_factory=list)
    depth: int = 0


_record: ContextVar[_Record | None] = ContextVar("registry_core_trace", default=None)


@contextmanager
def recorded() -> Iterator[list[Step]]:
    """Collect every question that this thread or task asks inside the context."""
    record = _Record()
    token = _record.set(record)
    try:
        yield record.steps
    finally:
        _record.reset(token)


@contextmanager
def step(hook: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    """Record one question; questions asked inside it are one level deeper. Outside of `recorded` nothing is kept."""
    record = _record.get()
    if record is None:
        yield Step(hook, "", 0)
        return
    current = Step(hook, _about(arguments), record.depth)
    record.steps.append(current)
    record.depth += 1
    try:
        yield current
    finally:
        record.depth -= 1


def _about(arguments: Mapping[str, Any]) -> str:
    """Describe what a question is about: the tag of a model, a raw config, or a name."""
    name = str(arguments.get("name", ""))
    if "tag" in arguments:
        return f"{arguments['tag']!r} of {name!r}"
    raw = arguments.get("raw")
    if raw is None:
        return repr(name) if name else ""
    return f"the config of {name}, architecture {raw.get('architecture', 'not stated')}"


def _brief(answer: object) -> str:
    kind = type(answer).__name__
    # Weights fit on a line; a config would be too long.
    return f"{kind}: {answer}" if kind == "Weights" else kind
