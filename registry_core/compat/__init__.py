"""A compatibility layer: programs written for open_clip run on the registry.

`registry_core.compat.open_clip` has open_clip's names, signatures and return values. Its functions call the registry.
There are two ways to use it:

    from registry_core.compat import open_clip      # change one import of the program
    registry-core run PROGRAM ...                   # change nothing: `import open_clip` imports the layer

`stand_in_for_open_clip()` does the same as `registry-core run`, for the current process.
"""

from __future__ import annotations


def stand_in_for_open_clip() -> None:
    """Make `import open_clip` import `registry_core.compat.open_clip` in this process.

    Raises:
        RegistryError: The package open_clip has already been imported. Modules that imported it would continue to use
            it.
    """
    import sys

    from registry_core.compat.stand_in import sitecustomize
    from registry_core.errors import RegistryError

    if getattr(sys.modules.get("open_clip"), "__name__", sitecustomize.LAYER) != sitecustomize.LAYER:
        raise RegistryError(
            "The package open_clip has already been imported, and modules that imported it would continue to use it. "
            "Nothing was changed.",
            name="open_clip",
            advice="Call stand_in_for_open_clip() before any import of open_clip.",
        )
    sitecustomize.install()
