"""Classes that plugins provide by the hook `public_classes`, as names of a module."""

from __future__ import annotations

from collections.abc import Callable

from registry_core import registry


def class_lookup(module: str, *names: str) -> Callable[[str], type]:
    """Return the `__getattr__` of a module with these classes. A plugin's module is imported when its class is used."""

    def lookup(name: str) -> type:
        found = registry.services.public_class(name) if name in names else None
        if found is None:
            reason = ": no plugin provides a class of that name" if name in names else ""
            raise AttributeError(f"{module} has no {name!r}{reason}")
        return found

    return lookup
