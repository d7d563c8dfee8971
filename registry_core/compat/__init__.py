"""Other libraries' names over the registry, so that programs written for them run on it.

    from registry_core.compat import open_clip      # instead of: import open_clip

A program that must not be changed runs by `registry-core run PROGRAM ...`, or after `stand_in_for_open_clip()`.
"""

from __future__ import annotations


def stand_in_for_open_clip() -> None:
    """From now on `import open_clip` gives this process `registry_core.compat.open_clip`.

    Raises:
        RegistryError: the package open_clip is imported already, so that part of the process would go on with it.
    """
    import sys

    from registry_core.compat.stand_in import sitecustomize
    from registry_core.errors import RegistryError

    if getattr(sys.modules.get("open_clip"), "__name__", sitecustomize.LAYER) != sitecustomize.LAYER:
        raise RegistryError(
            "The package open_clip is imported already, and modules that hold it would go on with it. Nothing was "
            "changed. Call stand_in_for_open_clip() before anything that imports open_clip."
        )
    sitecustomize.install()
