"""Who was asked what, and who answered: a record of the questions put to plugins, kept while somebody wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_core.plugins import Plugin


@dataclass(frozen=True, slots=True)
class Answer:
    """One plugin's answer to one question.

    Attributes:
        plugin: its name; `distribution` and `version` say where it comes from.
        file: path and line of the hook that answered.
        answer: what it gave, in a word or two.
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
        hook: that was asked.
        about: what it was asked about.
        depth: 0 for the registry's own questions, 1 for those that a plugin asked in order to answer one, and so on.
        asked: names of the plugins, in order.
        answers: of those that had one.
    """

    hook: str
    about: str
    depth: int
    asked: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def note(self, plugin: Plugin, answer: object) -> None:
        """Record what a plugin said; None is "not mine"."""
        self.asked.append(plugin.name)
        if answer is not None:
            said = f"failed: {answer}" if isinstance(answer, Exception) else _brief(answer)
            place = plugin.place(self.hook)
            self.answers.append(Answer(plugin.name, plugin.distribution, plugin.version, place, said))


@dataclass(slots=True)
class _Record:
    steps: list[Step] = field(default_factory=list)
    depth: int = 0


_record: ContextVar[_Record | None] = ContextVar("registry_core_trace", default=None)


@contextmanager
def recorded() -> Iterator[list[Step]]:
    """Inside, every question of this thread or task is added to the list."""
    record = _Record()
    token = _record.set(record)
    try:
        yield record.steps
    finally:
        _record.reset(token)


@contextmanager
def step(hook: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    """One question; those asked inside are one deeper. Outside of `recorded`, it is forgotten."""
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
    """What a question is about: the tag of a model, a raw config, or a name."""
    name = str(arguments.get("name", ""))
    if "tag" in arguments:
        return f"{arguments['tag']!r} of {name!r}"
    raw = arguments.get("raw")
    if raw is None:
        return repr(name) if name else ""
    return f"the config of {name}, architecture {raw.get('architecture', 'not stated')}"


def _brief(answer: object) -> str:
    kind = type(answer).__name__
    # Configs are long, weights say in a line what they are.
    return f"{kind}: {answer}" if kind == "Weights" else kind
