"""A plugin as the registry knows it: its hooks, where they come from, and what went wrong with them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pluggy

    from registry_core.errors import PluginError


@dataclass(slots=True, eq=False)
class Plugin:
    """One plugin and where it comes from.

    Attributes:
        name: Entry-point name; the qualifier in `plugin::model`.
        distribution: Name of the installed package. "(registered)" for a plugin that was registered by hand, "not
            installed" for one that a list names but no distribution provides.
        version: Version of the distribution.
        location: Module that holds the hooks.
        file: File of that module.
        api: Version of the hook contract that the plugin was written for; 0 if it is not known.
        disabled: What switched the plugin off, such as "REGISTRY_CORE_PLUGINS"; empty for an active plugin.
        notes: Oddities of a plugin that works.
        load_error: Why the plugin could not be loaded, or None.
        failures: Hook -> its error at the last call. A later call that succeeds removes the entry.
        hooks: Hook -> its implementation.
    """

    name: str
    distribution: str
    version: str = ""
    location: str = ""
    file: str = ""
    api: int = 0
    disabled: str = ""
    notes: list[str] = field(default_factory=list)
    load_error: PluginError | None = None
    failures: dict[str, PluginError] = field(default_factory=dict)
    hooks: dict[str, pluggy.HookImpl] = field(default_factory=dict, repr=False)

    @property
    def error(self) -> PluginError | None:
        """Why the plugin does not work: its load error, or else the latest failure of a hook."""
        failures = list(self.failures.values())  # a copy, since another thread may be calling a hook
        return self.load_error or (failures[-1] if failures else None)

    @property
    def active(self) -> bool:
        """Whether the registry calls its hooks."""
        return bool(self.hooks)

    @property
    def state(self) -> str:
        """The state in a few words, for tables."""
        if self.disabled:
            return f"switched off by {self.disabled}"
        if self.error is not None:
            return "failing" if self.active else "broken"
        return "works" if self.active else "has no hook"

    def fail(self, hook: str, error: PluginError) -> None:
        """Record a failure of a hook as the latest one."""
        self.failures.pop(hook, None)
        self.failures[hook] = error

    def location_of(self, hook: str) -> str:
        """Return the file and line of a hook."""
        code = getattr(inspect.unwrap(self.hooks[hook].function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.file

    def summary_of(self, hook: str) -> str:
        """Return the first line of a hook's docstring, or an empty string."""
        return next(iter((inspect.getdoc(self.hooks[hook].function) or "").splitlines()), "")

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.name} ({self.distribution}{version})"
