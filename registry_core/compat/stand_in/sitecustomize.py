"""`import open_clip` leads to registry_core.compat.open_clip.

Python imports a module of this file's name when it starts, so every child process has the stand-in too, however it is
started. A finder goes before the path: a fork of open_clip beside the program would win over anything on PYTHONPATH.
Only the standard library is imported here, since every interpreter pays for it.
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
    """Finds the layer and its modules under open_clip's names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        top, _, rest = fullname.partition(".")
        if top != NAME or (rest and find_spec(f"{LAYER}.{rest}") is None):
            return None
        return ModuleSpec(fullname, self, is_package=not rest)

    def exec_module(self, module: ModuleType) -> None:
        """Put the layer's own module in the place of the new one; whoever imports gets what stands there then."""
        sys.modules[module.__name__] = import_module(LAYER + module.__name__.removeprefix(NAME))


def install() -> None:
    """Let the finder be asked first; once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _run_hidden() -> None:
    """The sitecustomize that this one hides, of the system or the user, if there is one."""
    here = Path(__file__).parent
    spec = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if Path(entry or ".").resolve() != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    install()
    _run_hidden()
