"""Whether what an entry point gave is a plugin: the contract that it was written for, and its hooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pluggy

from registry_core import hookspecs
from registry_core.errors import did_you_mean

API_ATTRIBUTE = "REGISTRY_CORE_API"

HOOKS = frozenset(name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction))


class NotAdmittedError(Exception):
    """What a plugin does not fulfil; the host makes it a PluginError that names the plugin."""


def api_of(plugin: object) -> int:
    """The version of the hook contract that a plugin was written for; one that does not say was written for the first.

    Raises:
        NotAdmittedError: a version that is not known here.
    """
    version = getattr(plugin, API_ATTRIBUTE, 1)
    known = f"{hookspecs.OLDEST_API} to {hookspecs.API}" if hookspecs.API > hookspecs.OLDEST_API else f"{hookspecs.API}"
    if not isinstance(version, int) or isinstance(version, bool):
        raise NotAdmittedError(
            f"its {API_ATTRIBUTE} is {version!r}, expected the number of the hook contract that it was written for "
            f"({known}). Correct it in the plugin"
        )
    if version > hookspecs.API:
        raise NotAdmittedError(
            f"it was written for version {version} of the hook contract, and this registry_core knows {known}. "
            "Upgrade registry_core (pip install -U registry_core), or install an older release of the plugin"
        )
    if version < hookspecs.OLDEST_API:
        raise NotAdmittedError(
            f"it was written for version {version} of the hook contract, and this registry_core knows {known}. "
            "Install a newer release of the plugin"
        )
    return version


def admit(manager: pluggy.PluginManager, plugin: object, name: str) -> dict[str, pluggy.HookImpl]:
    """Register a plugin, and return its hooks by name.

    Raises:
        NotAdmittedError: one of its hooks does not exist, or is a wrapper around the others'.
        pluggy.PluginValidationError: a hook asks for an argument that does not exist.
    """
    manager.register(plugin, name)
    hooks = dict(_implementations(manager, plugin))
    strangers = [hook for hook in hooks if hook not in HOOKS]
    wrappers = [hook for hook, implementation in hooks.items() if implementation.hookwrapper or implementation.wrapper]
    if strangers or wrappers:
        manager.unregister(plugin)
    if strangers:
        hints = "; ".join(f"{hook!r} is no hook.{did_you_mean(hook, HOOKS)}" for hook in strangers)
        raise NotAdmittedError(f"{hints} The hooks are: {', '.join(sorted(HOOKS))}")
    if wrappers:
        raise NotAdmittedError(
            f"{', '.join(wrappers)} is a hook wrapper. Each plugin answers for itself here; there is no call of all "
            "others to wrap"
        )
    return hooks


def unmarked(plugin: object, hooks: dict[str, pluggy.HookImpl]) -> list[str]:
    """Functions that are named as hooks and lack the mark, so that nobody asks them."""
    return [name for name in sorted(HOOKS - hooks.keys()) if _defines(plugin, name)]


def _defines(plugin: object, name: str) -> bool:
    """Whether a function of that name is the plugin's own, not one that it imported."""
    found = getattr(plugin, name, None)
    module = getattr(plugin, "__name__", type(plugin).__module__)
    return inspect.isroutine(found) and getattr(found, "__module__", None) == module


def _implementations(manager: pluggy.PluginManager, plugin: object) -> Iterator[tuple[str, pluggy.HookImpl]]:
    for caller in manager.get_hookcallers(plugin) or []:
        # The newest is the last, so that the search does not grow with the number of plugins.
        for implementation in reversed(caller.get_hookimpls()):
            if implementation.plugin is plugin:
                yield caller.name, implementation
                break
