"""Discovery: plugins are found through entry points and loaded one by one; each failure is kept with its plugin.

pluggy checks the hooks. Its host must do the rest: a plugin that raises at import, asks for an argument that does not
exist or misspells a hook is listed with its error, and the other plugins keep working.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from registry_core import hookspecs
from registry_core.errors import ErrorFacts, PluginError, RegistryError
from registry_core.fetch.sources import without_secrets
from registry_core.hooks import trace
from registry_core.hooks.plugin import Plugin
from registry_core.hooks.selection import Candidate, Selection
from registry_core.hooks.validation import InvalidPluginError, api_of, unmarked, validate

GROUP = "registry_core.plugins"
OWN = "registry_core"  # this distribution; its plugins are loaded first

logger = logging.getLogger(__name__)

# Hooks for which every plugin is asked. An error in one of them is never the answer to the caller's question.
_LISTING = frozenset(
    {"list_models", "list_pretrained", "derive_models", "describe_models", "fetchers", "public_classes"}
)
# Arguments of hooks that are configs.
_COPIED = frozenset({"raw", "base"})


class PluginHost:
    """The plugins of one Registry.

    Args:
        plugins: The plugins to use: modules or objects, and strings that select installed plugins (see
            registry_core.hooks.selection). None means every entry point of the group except those that
            REGISTRY_CORE_PLUGINS leaves out.

    Raises:
        PluginError: A given module does not fit the contract, or a string names a plugin that is not installed.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: list[Plugin] = []
        self._lock = threading.RLock()
        self._discovered = plugins is not None
        given = list(plugins or ())
        patterns = [item for item in given if isinstance(item, str)]
        if patterns:
            self._discover(Selection.parse(patterns, "Registry(plugins=...)"))
            absent = next((plugin for plugin in self._plugins if not plugin.location), None)
            if absent is not None and absent.load_error is not None:
                raise absent.load_error
        for plugin in given:
            if not isinstance(plugin, str):
                self.register(plugin)

    def __iter__(self) -> Iterator[Plugin]:
        """Every plugin by distribution and name, including broken ones and those that are switched off."""
        with self._lock:
            if not self._discovered:
                self._discovered = True
                self._discover(Selection.of_environment())
            return iter(list(self._plugins))

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand.

        Raises:
            PluginError: Its hooks do not fit the contract, or its name is taken.
        """
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        record = Plugin(label, "(registered)", location=_location(plugin))
        list(self)  # discover entry points first, so that the order of calls does not decide whether a name is taken
        self._add(record, lambda: plugin)
        if record.load_error is not None:
            self._plugins.remove(record)
            raise record.load_error
        return record

    def ask(self, hook: str, *, to: str | None = None, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Call a hook of every plugin and return the answers that are not None. A plugin that fails is left out.

        The failure is recorded with the plugin. HookCalls, which checks the answers, removes it after a later success.

        Args:
            hook: Name of the hook.
            to: The one plugin to ask; None means all.
            **arguments: Arguments of the hook.

        Raises:
            RegistryError: Raised on purpose by a plugin that recognises the question as its own.
        """
        answers = []
        with trace.step(hook, arguments) as step:
            for plugin in self:
                if hook in plugin.hooks and to in {None, plugin.name}:
                    try:
                        answer = self.ask_one(plugin, hook, **arguments)
                    except PluginError as error:
                        logger.warning("%s", without_secrets(str(error)))
                        plugin.fail(hook, error)
                        step.note(plugin, error)
                        continue
                    step.note(plugin, answer)
                    if answer is not None:
                        answers.append((plugin, answer))
        return answers

    def ask_one(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call a hook of one plugin. Returns None if the plugin does not implement it.

        Raises:
            PluginError: The hook raised something other than a RegistryError. For a listing hook: it raised anything.
        """
        implementation = plugin.hooks.get(hook)
        if implementation is None:
            return None
        try:
            return implementation.function(*(_handed_out(name, arguments[name]) for name in implementation.argnames))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin that calls sys.exit() must not end the program
            if isinstance(error, RegistryError) and hook not in _LISTING:
                raise
            raise PluginError(
                f"Plugin {plugin} failed in its hook {hook}: {_described(error)}. "
                f"The fault is in {plugin.location}; other plugins are not affected.",
                plugin=plugin.name,
                hook=hook,
            ) from error

    def _discover(self, selection: Selection) -> None:
        """Load every selected entry point, shipped plugins first, so that no other package can take their names."""
        found = [(entry, _candidate(entry)) for entry in entry_points(group=GROUP)]
        found.sort(key=lambda pair: (pair[1].distribution != OWN, pair[1].distribution, pair[1].name))
        for entry, candidate in found:
            version = entry.dist.version if entry.dist else ""
            record = Plugin(entry.name, candidate.distribution, version, entry.value)
            if selection.refuses(candidate):
                record.disabled = selection.source
                self._plugins.append(record)
            else:
                self._add(record, entry.load)
        for name, error in selection.absent(candidate for _, candidate in found).items():
            self._plugins.append(Plugin(name, "not installed", load_error=error))
        self._plugins.sort(key=lambda plugin: (plugin.distribution, plugin.name))
        logger.debug("plugins: %s", ", ".join(f"{plugin} {plugin.state}" for plugin in self._plugins))

    def _add(self, record: Plugin, load: Callable[[], object]) -> None:
        taken = next((p for p in self._plugins if p.name == record.name and p.location and not p.disabled), None)
        self._plugins.append(record)
        record.load_error = _load(self._manager, record, load) if taken is None else _taken(record, taken)
        if record.load_error is not None:
            logger.warning("%s", without_secrets(str(record.load_error)))


def _load(manager: pluggy.PluginManager, record: Plugin, load: Callable[[], object]) -> PluginError | None:
    """Import and validate a plugin, and fill in its record. Returns the error of a plugin that does not work."""
    logger.debug("importing the plugin %s", record)
    try:
        plugin = load()
        record.file = _file(plugin)
        record.api = api_of(plugin)
        record.hooks = validate(manager, plugin, record.name)
        record.notes = _notes(plugin, record)
    except InvalidPluginError as error:
        facts: ErrorFacts = {**error.facts, "plugin": record.name}
        return PluginError(f"Plugin {record} was not loaded: {error}. The fault is in {record.location}.", **facts)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too; the error is shown
        failure = PluginError(
            f"Plugin {record} could not be loaded from {record.location}: {_described(error)}. Its models are not "
            "available; other plugins are not affected.",
            plugin=record.name,
            advice=_advice(record, error),
        )
        failure.__cause__ = error
        return failure
    return None


def _taken(record: Plugin, other: Plugin) -> PluginError:
    return PluginError(
        f"Plugin {record} was not loaded: the name {record.name!r} is already used by {other}.",
        name=record.name,
        plugin=record.name,
        found=str(other),
        advice="Uninstall one of the two, rename the entry point of one, or switch one off: "
        f"REGISTRY_CORE_PLUGINS='-{other.distribution}:{record.name}'.",
    )


def _handed_out(name: str, value: Any) -> Any:
    """Return an argument of a hook. Configs are copied, so that a plugin cannot change those of other plugins."""
    return copy_of(value) if name in _COPIED else value


def copy_of(value: Any) -> Any:
    """Return a copy of JSON data. Much faster than copy.deepcopy, which also looks for shared and cyclic parts."""
    if isinstance(value, Mapping):
        return {key: copy_of(item) for key, item in value.items()}
    return [copy_of(item) for item in value] if isinstance(value, list) else value


def _described(error: BaseException) -> str:
    """Return the type and the text of an error in one line. The text of a plugin's own error class may raise too."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - see above
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _candidate(entry: EntryPoint) -> Candidate:
    return Candidate(entry.name, entry.dist.name if entry.dist else "(unknown)")


def _location(plugin: object) -> str:
    return str(getattr(plugin, "__name__", "")) or f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _file(plugin: object) -> str:
    """Return the file of a plugin's code, or an empty string if it is not known."""
    try:
        return inspect.getfile(plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin))
    except (TypeError, OSError):
        return ""


def _notes(plugin: object, record: Plugin) -> list[str]:
    return [
        f"{hook} has the name of a hook but is not marked with @hookimpl, so it is never called; the fault is in "
        f"{record.location}"
        for hook in unmarked(plugin, record.hooks)
    ]


def _advice(record: Plugin, error: BaseException) -> str:
    package = record.location.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != package:
        needed = error.name.partition(".")[0]
        return (
            f"It needs the package {needed!r}, which is not installed here: install {record.distribution} with its "
            "dependencies, or uninstall it."
        )
    return f"The fault is in {record.location}: upgrade, repair or uninstall {record.distribution}."
