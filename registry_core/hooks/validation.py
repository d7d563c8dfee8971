"""Validation of a plugin: the contract version that it was written for, and its hooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Unpack

import pluggy

from registry_core import hookspecs
from registry_core.errors import ErrorFacts, did_you_mean

API_ATTRIBUTE = "REGISTRY_CORE_API"

HOOKS = frozenset(name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction))


class InvalidPluginError(Exception):
    """The rule that a plugin breaks. The host turns it into a PluginError that names the plugin.

    Args:
        message: The rule, without a full stop.
        **facts: Facts of the PluginError.
    """

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message)
        self.facts = facts


def api_of(plugin: object) -> int:
    """Return the version of the hook contract that a plugin was written for; 1 if the plugin does not state one.

    Raises:
        InvalidPluginError: This registry_core does not know the version.
    """
    version = getattr(plugin, API_ATTRIBUTE, 1)
    known = f"{hookspecs.OLDEST_API} to {hookspecs.API}" if hookspecs.API > hookspecs.OLDEST_API else f"{hookspecs.API}"
    if not isinstance(version, int) or isinstance(version, bool):
        raise InvalidPluginError(
            f"its {API_ATTRIBUTE} is {version!r}, expected the number of the hook contract that it was written for "
            f"({known})",
            name=API_ATTRIBUTE,
            expected=known,
            found=version,
            advice="Correct it in the plugin.",
        )
    if hookspecs.OLDEST_API <= version <= hookspecs.API:
        return version
    upgrade = "Upgrade registry_core (pip install -U registry_core), or install an older release of the plugin."
    raise InvalidPluginError(
        f"it was written for version {version} of the hook contract, and this registry_core knows {known}",
        name=API_ATTRIBUTE,
        expected=known,
        found=version,
        advice=upgrade if version > hookspecs.API else "Install a newer release of the plugin.",
    )


def validate(manager: pluggy.PluginManager, plugin: object, name: str) -> dict[str, pluggy.HookImpl]:
    """Register a plugin with pluggy, check its hooks, and return them by name.

    Raises:
        InvalidPluginError: One of its hooks does not exist, or wraps the hooks of other plugins.
        pluggy.PluginValidationError: A hook asks for an argument that does not exist.
    """
    manager.register(plugin, name)
    hooks = dict(_implementations(manager, plugin))
    unknown = [hook for hook in hooks if hook not in HOOKS]
    wrappers = [hook for hook, implementation in hooks.items() if implementation.hookwrapper or implementation.wrapper]
    if unknown or wrappers:
        manager.unregister(plugin)
    if unknown:
        hints = "; ".join(f"{hook!r} is not a hook.{did_you_mean(hook, HOOKS)}" for hook in unknown)
        raise InvalidPluginError(
            f"{hints} The hooks are: {', '.join(sorted(HOOKS))}", hook=unknown[0], expected=sorted(HOOKS), found=unknown
        )
    if wrappers:
        raise InvalidPluginError(
            f"{', '.join(wrappers)} is a hook wrapper. Plugins are called one at a time, so there is no call to wrap",
            hook=wrappers[0],
            found=wrappers,
        )
    return hooks


def unmarked(plugin: object, hooks: dict[str, pluggy.HookImpl]) -> list[str]:
    """Return functions that have the name of a hook but lack the `@hookimpl` mark, so that they are never called."""
    return [name for name in sorted(HOOKS - hooks.keys()) if _defines(plugin, name)]


def _defines(plugin: object, name: str) -> bool:
    """Whether the plugin defines a function of that name itself, rather than importing it."""
    found = getattr(plugin, name, None)
    module = getattr(plugin, "__name__", type(plugin).__module__)
    return inspect.isroutine(found) and getattr(found, "__module__", None) == module


def _implementations(manager: pluggy.PluginManager, plugin: object) -> Iterator[tuple[str, pluggy.HookImpl]]:
    for caller in manager.get_hookcallers(plugin) or []:
        # pluggy appends the newest, so searching from the end does not slow down with the number of plugins.
        for implementation in reversed(caller.get_hookimpls()):
            if implementation.plugin is plugin:
                yield caller.name, implementation
                break
