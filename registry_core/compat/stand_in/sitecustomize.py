"""Make `import open_clip` import registry_core.compat.open_clip.

Python imports a module named `sitecustomize` when it starts. Child processes therefore import the layer too, however
they are started. The import uses a finder and not PYTHONPATH, since a fork of open_clip next to the program would be
found before any folder in PYTHONPATH. This file imports the standard library only, since every interpreter imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

NAME = "open_clip"
LAYER = "registry_core.compat.open_clip"


class _Finder(MetaPathFinder, Loader):
    """Finds the compatibility layer and its modules under open_clip's names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        top, _, rest = fullname.partition(".")
        if top != NAME or (rest and find_spec(f"{LAYER}.{rest}") is None):
            return None
        return ModuleSpec(fullname, self, is_package=not rest)

    def exec_module(self, module: ModuleType) -> None:
        """Replace the new module with the layer's own. The import statement returns what is in sys.modules then."""
        sys.modules[module.__name__] = import_module(LAYER + module.__name__.removeprefix(NAME))


def install() -> None:
    """Add the finder before all others, unless it was added before."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _run_hidden() -> None:
    """Run the sitecustomize of the system or the user, if one exists. Python found this file instead of it."""
    here = Path(__file__).parent
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if Path(entry or ".").resolve() != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    install()
    _run_hidden()
