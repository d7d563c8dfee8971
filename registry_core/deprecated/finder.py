"""A finder that is asked last, so that it costs nothing unless an old module path is imported."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from registry_core.deprecated.table import MODULES, RENAMED


class _MovedModules(MetaPathFinder, Loader):
    """Finds and loads stand-ins for modules that moved."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the old path of a moved module."""
        del path, target
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module that looks names up in the new modules."""
        module = ModuleType(spec.name, f"Moved to {' and '.join(MODULES[spec.name])}.")
        setattr(module, "__getattr__", _lookup(spec.name))  # noqa: B010 - PEP 562; a module has no such type
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Warn; there is no code to run."""
        warnings.warn(
            f"The module {module.__name__} moved to {' and '.join(MODULES[module.__name__])}. The documented plugin "
            "API exports most names; see docs/plugin-api.md.",
            DeprecationWarning,
            stacklevel=2,
        )


def _lookup(module: str) -> Any:
    def lookup(name: str) -> Any:
        if name == "__all__":  # `from module import *`
            return _public_names(module)
        current = RENAMED.get(name, name)
        for new in MODULES[module]:
            found = getattr(import_module(new), current, None)
            if found is not None:
                return found
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return lookup


def _public_names(module: str) -> list[str]:
    names = {name for new in MODULES[module] for name in vars(import_module(new)) if not name.startswith("_")}
    return sorted(names | {old for old, current in RENAMED.items() if current in names})


def renamed(package: str, name: str) -> Any:
    """Return the object that an old name of a package stands for, with a warning; the `__getattr__` of the package.

    Raises:
        AttributeError: The package never had such a name.
    """
    if name not in RENAMED:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    warnings.warn(f"{package}.{name} is now {package}.{RENAMED[name]}.", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[package], RENAMED[name])


def install() -> None:
    """Make the old module paths importable."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
