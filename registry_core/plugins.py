"""Which plugins there are: found through entry points, loaded one by one, each failure kept with its plugin.

pluggy checks and calls the hooks. What it leaves to its host is done here: a plugin that raises at import, asks for an
argument that does not exist or misspells a hook is listed with its error, and the others work on.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from registry_core import hookspecs
from registry_core.errors import PluginError, RegistryError, did_you_mean

GROUP = "registry_core.plugins"


@dataclass(slots=True, eq=False)
class Plugin:
    """One plugin and where it comes from.

    Attributes:
        name: entry-point name; the qualifier in `plugin::model`.
        distribution: name of the installed package, or "(registered)" for one registered by hand.
        version: of the distribution.
        location: the module that holds the hooks.
        error: why the plugin does not work, or the last failure of one of its hooks.
    """

    name: str
    distribution: str
    version: str = ""
    location: str = ""
    error: Exception | None = None
    hooks: dict[str, pluggy.HookImpl] = field(default_factory=dict, repr=False)

    @property
    def active(self) -> bool:
        """Whether its hooks are asked."""
        return bool(self.hooks)

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.name} ({self.distribution}{version})"


class PluginHost:
    """The plugins of one Registry.

    Args:
        plugins: modules or objects to use and no others; None means every entry point of the group.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._specs = {name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction)}
        self._plugins: list[Plugin] = []
        self._lock = threading.RLock()
        self._discovered = plugins is not None
        for plugin in plugins or ():
            self.register(plugin)

    def __iter__(self) -> Iterator[Plugin]:
        """Every plugin, the broken ones too, by distribution and name."""
        with self._lock:
            if not self._discovered:
                self._discovered = True
                found = entry_points(group=GROUP)
                for entry_point in sorted(found, key=lambda e: (e.dist.name if e.dist else "", e.name)):
                    self._load(entry_point)
            return iter(list(self._plugins))

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand.

        Raises:
            PluginError: its hooks do not fit the contract, or its name is taken.
        """
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        record = Plugin(label, "(registered)", location=_location(plugin))
        if self._discovered:  # before discovery, entry points are still to come and give way
            list(self)
        self._add(record, lambda: plugin)
        if record.error is not None:
            self._plugins.remove(record)
            raise record.error
        return record

    def ask(self, hook: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Every plugin's answer but None. A plugin that fails is marked and left out.

        Raises:
            RegistryError: raised on purpose by a plugin that knows the question to be its own.
        """
        answers = []
        for plugin in self:
            if hook in plugin.hooks:
                try:
                    answer = self.ask_one(plugin, hook, **arguments)
                except PluginError as error:
                    plugin.error = error
                    continue
                if answer is not None:
                    answers.append((plugin, answer))
        return answers

    def ask_one(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """One plugin's answer, or None where it does not implement the hook.

        Raises:
            PluginError: the hook raised something that is no RegistryError.
        """
        implementation = plugin.hooks.get(hook)
        if implementation is None:
            return None
        try:
            return implementation.function(*(arguments[name] for name in implementation.argnames))
        except RegistryError:
            raise
        except Exception as error:
            raise PluginError(
                f"Plugin {plugin} failed in its hook {hook}: {type(error).__name__}: {error}. "
                f"The fault is in {plugin.location}; other plugins are not affected."
            ) from error

    def _load(self, entry_point: EntryPoint) -> None:
        found = entry_point.dist
        distribution, version = (found.name, found.version) if found else ("(unknown)", "")
        record = Plugin(entry_point.name, distribution, version, entry_point.value)
        self._add(record, entry_point.load)

    def _add(self, record: Plugin, load: Callable[[], object]) -> None:
        taken = next((other for other in self._plugins if other.name == record.name), None)
        self._plugins.append(record)
        if taken is not None:
            record.error = PluginError(
                f"Plugin {record} was not loaded: the name {record.name!r} is already used by {taken}. "
                "Uninstall one of the two, or rename the entry point of one."
            )
            return
        try:
            plugin = load()
            self._manager.register(plugin, record.name)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is kept and shown
            record.error = PluginError(
                f"Plugin {record} could not be loaded from {record.location}: {type(error).__name__}: {error}. "
                "Its models are not available; other plugins are not affected. Repair or uninstall it."
            )
            record.error.__cause__ = error
            return
        self._admit(record, plugin)

    def _admit(self, record: Plugin, plugin: object) -> None:
        callers = self._manager.get_hookcallers(plugin) or []
        strangers = [caller.name for caller in callers if caller.name not in self._specs]
        if strangers:
            self._manager.unregister(plugin)
            hints = "; ".join(f"{name!r} is no hook.{did_you_mean(name, self._specs)}" for name in strangers)
            record.error = PluginError(
                f"Plugin {record} was not loaded: {hints} The hooks are: {', '.join(sorted(self._specs))}."
            )
            return
        wrappers = [name for name, hook in self._implementations(plugin) if hook.hookwrapper or hook.wrapper]
        if wrappers:
            self._manager.unregister(plugin)
            record.error = PluginError(
                f"Plugin {record} was not loaded: {', '.join(wrappers)} is a hook wrapper. Each plugin answers for "
                "itself here; there is no call of all others to wrap."
            )
            return
        record.hooks = dict(self._implementations(plugin))

    def _implementations(self, plugin: object) -> list[tuple[str, pluggy.HookImpl]]:
        return [
            (caller.name, implementation)
            for caller in self._manager.get_hookcallers(plugin) or []
            for implementation in caller.get_hookimpls()
            if implementation.plugin is plugin
        ]


def _location(plugin: object) -> str:
    return str(getattr(plugin, "__name__", "")) or f"{type(plugin).__module__}.{type(plugin).__qualname__}"
