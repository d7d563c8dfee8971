"""Classes that plugins offer by the hook `public_classes`, as names of a module."""

from __future__ import annotations

from collections.abc import Callable

from registry_core import registry


def offered(module: str, *names: str) -> Callable[[str], type]:
    """A module's `__getattr__` for classes of these names; the plugin's module is imported when one is asked for."""

    def get(name: str) -> type:
        found = registry.services.public_class(name) if name in names else None
        if found is None:
            why = ": no plugin offers a class of that name" if name in names else ""
            raise AttributeError(f"{module} has no {name!r}{why}")
        return found

    return get
