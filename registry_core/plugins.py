"""Which plugins there are: found through entry points, loaded one by one, each failure kept with its plugin.

pluggy checks the hooks. What it leaves to its host is done here: a plugin that raises at import, asks for an argument
that does not exist or misspells a hook is listed with its error, and the others work on.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from registry_core import hookspecs, trace
from registry_core.admission import NotAdmittedError, admit, api_of, unmarked
from registry_core.errors import PluginError, RegistryError
from registry_core.selection import Candidate, Selection

GROUP = "registry_core.plugins"
OWN = "registry_core"  # this distribution; what it ships is loaded first

# Asked of all for what they have: an error there is no answer to the caller's question, whatever its type.
_LISTING = frozenset(
    {"list_models", "list_pretrained", "derive_models", "describe_models", "fetchers", "public_classes"}
)


@dataclass(slots=True, eq=False)
class Plugin:
    """One plugin and where it comes from.

    Attributes:
        name: entry-point name; the qualifier in `plugin::model`.
        distribution: name of the installed package, "(registered)" for one registered by hand, "not installed" for
            one that a list names and that is not there.
        version: of the distribution.
        location: the module that holds the hooks.
        file: that module's file.
        api: version of the hook contract that it was written for; 0 where that is not known.
        disabled: who switched it off, such as "REGISTRY_CORE_PLUGINS"; empty for one that is asked.
        notes: what is odd about it, though it works.
        error: why the plugin does not work, or the last failure of one of its hooks.
    """

    name: str
    distribution: str
    version: str = ""
    location: str = ""
    file: str = ""
    api: int = 0
    disabled: str = ""
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None
    hooks: dict[str, pluggy.HookImpl] = field(default_factory=dict, repr=False)

    @property
    def active(self) -> bool:
        """Whether its hooks are asked."""
        return bool(self.hooks)

    @property
    def state(self) -> str:
        """In a word or two, for tables."""
        if self.disabled:
            return f"switched off by {self.disabled}"
        if self.error is not None:
            return "failing" if self.active else "broken"
        return "works" if self.active else "has no hook"

    def place(self, hook: str) -> str:
        """File and line of a hook."""
        code = getattr(inspect.unwrap(self.hooks[hook].function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.file

    def says(self, hook: str) -> str:
        """The first line of a hook's own description, if it has one."""
        return next(iter((inspect.getdoc(self.hooks[hook].function) or "").splitlines()), "")

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.name} ({self.distribution}{version})"


class PluginHost:
    """The plugins of one Registry.

    Args:
        plugins: what to use: modules or objects, and words for installed plugins (see registry_core.selection). None
            means every entry point of the group but those that REGISTRY_CORE_PLUGINS leaves out.

    Raises:
        PluginError: a given module does not fit the contract, or a word names a plugin that is not installed.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: list[Plugin] = []
        self._lock = threading.RLock()
        self._discovered = plugins is not None
        given = list(plugins or ())
        words = [word for word in given if isinstance(word, str)]
        if words:
            self._discover(Selection.parse(words, "Registry(plugins=...)"))
            absent = next((plugin for plugin in self._plugins if not plugin.location), None)
            if absent is not None and absent.error is not None:
                raise absent.error
        for plugin in given:
            if not isinstance(plugin, str):
                self.register(plugin)

    def __iter__(self) -> Iterator[Plugin]:
        """Every plugin, the broken ones and those switched off too, by distribution and name."""
        with self._lock:
            if not self._discovered:
                self._discovered = True
                self._discover(Selection.of_environment())
            return iter(list(self._plugins))

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand.

        Raises:
            PluginError: its hooks do not fit the contract, or its name is taken.
        """
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        record = Plugin(label, "(registered)", location=_location(plugin))
        list(self)  # entry points come first, so that a name is taken or not whenever this is called
        self._add(record, lambda: plugin)
        if record.error is not None:
            self._plugins.remove(record)
            raise record.error
        return record

    def ask(self, hook: str, *, to: str | None = None, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Every plugin's answer but None. A plugin that fails is marked and left out.

        Args:
            hook: its name.
            to: the one plugin to ask; None means all.
            **arguments: of the hook.

        Raises:
            RegistryError: raised on purpose by a plugin that knows the question to be its own.
        """
        answers = []
        with trace.step(hook, arguments) as step:
            for plugin in self:
                if hook in plugin.hooks and to in {None, plugin.name}:
                    try:
                        answer = self.ask_one(plugin, hook, **arguments)
                    except PluginError as error:
                        plugin.error = error
                        step.note(plugin, error)
                        continue
                    step.note(plugin, answer)
                    if answer is not None:
                        answers.append((plugin, answer))
        return answers

    def ask_one(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """One plugin's answer, or None where it does not implement the hook.

        Raises:
            PluginError: the hook raised something that is no RegistryError; of a listing hook, whatever it raised.
        """
        implementation = plugin.hooks.get(hook)
        if implementation is None:
            return None
        try:
            return implementation.function(*(arguments[name] for name in implementation.argnames))
        except Exception as error:
            if isinstance(error, RegistryError) and hook not in _LISTING:
                raise
            raise PluginError(
                f"Plugin {plugin} failed in its hook {hook}: {type(error).__name__}: {error}. "
                f"The fault is in {plugin.location}; other plugins are not affected."
            ) from error

    def _discover(self, selection: Selection) -> None:
        """Load every entry point that is not left out; what is shipped first, so that nobody takes its names."""
        found = [(entry, _candidate(entry)) for entry in entry_points(group=GROUP)]
        found.sort(key=lambda pair: (pair[1].distribution != OWN, pair[1].distribution, pair[1].name))
        for entry, about in found:
            version = entry.dist.version if entry.dist else ""
            record = Plugin(entry.name, about.distribution, version, entry.value)
            if selection.refuses(about):
                record.disabled = selection.source
                self._plugins.append(record)
            else:
                self._add(record, entry.load)
        for name, message in selection.absent(about for _, about in found).items():
            self._plugins.append(Plugin(name, "not installed", error=PluginError(message)))
        self._plugins.sort(key=lambda plugin: (plugin.distribution, plugin.name))

    def _add(self, record: Plugin, load: Callable[[], object]) -> None:
        taken = next((p for p in self._plugins if p.name == record.name and p.location and not p.disabled), None)
        self._plugins.append(record)
        if taken is not None:
            record.error = PluginError(
                f"Plugin {record} was not loaded: the name {record.name!r} is already used by {taken}. Uninstall one "
                f"of the two, rename the entry point of one, or switch one off: "
                f"REGISTRY_CORE_PLUGINS='-{taken.distribution}:{record.name}'."
            )
            return
        try:
            plugin = load()
            record.file = _file(plugin)
            record.api = api_of(plugin)
            record.hooks = admit(self._manager, plugin, record.name)
            record.notes = _notes(plugin, record)
        except NotAdmittedError as error:
            record.error = PluginError(f"Plugin {record} was not loaded: {error}. The fault is in {record.location}.")
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is kept and shown
            record.error = PluginError(
                f"Plugin {record} could not be loaded from {record.location}: {type(error).__name__}: "
                f"{' '.join(str(error).split())}. Its models are not available; other plugins are not affected. "
                f"{_advice(record, error)}"
            )
            record.error.__cause__ = error


def _candidate(entry: EntryPoint) -> Candidate:
    return Candidate(entry.name, entry.dist.name if entry.dist else "(unknown)")


def _location(plugin: object) -> str:
    return str(getattr(plugin, "__name__", "")) or f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _file(plugin: object) -> str:
    """Where the plugin's code is, as far as it can be told."""
    try:
        return inspect.getfile(plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin))
    except (TypeError, OSError):
        return ""


def _notes(plugin: object, record: Plugin) -> list[str]:
    return [
        f"{hook} has the name of a hook and is not marked with @hookimpl, so it is never asked; the fault is in "
        f"{record.location}"
        for hook in unmarked(plugin, record.hooks)
    ]


def _advice(record: Plugin, error: Exception) -> str:
    package = record.location.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != package:
        needed = error.name.partition(".")[0]
        return (
            f"It needs the package {needed!r}, which is not installed here: install {record.distribution} with its "
            "dependencies, or uninstall it."
        )
    return f"The fault is in {record.location}: upgrade, repair or uninstall {record.distribution}."
