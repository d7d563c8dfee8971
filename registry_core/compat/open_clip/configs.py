"""Which models there are, and their configs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from registry_core import UnknownModelError, registry
from registry_core.names import ModelName
from registry_core.user_configs import configs_in

__all__ = ["add_model_config", "get_model_config", "list_models"]


def list_models() -> list[str]:
    """All model names, DA-CLIP's and those of other plugins too."""
    return registry.list_models()


def add_model_config(path: str | Path) -> None:
    """Make models of a config file, or of all configs in a folder; other JSON in it is passed over.

    Raises:
        TakenNameError: a model of that name is there already; nothing replaces it.
        ConfigError: not readable, or no model's config.
    """
    for config in configs_in([str(path)], "add_model_config").values():
        registry.add_config(config.origin)


def get_model_config(model_name: str) -> dict[str, Any] | None:
    """A model's config as interchange JSON, or None where there is no such model.

    Raises:
        RegistryError: a folder or repository that is not there or has no config, or a name that two plugins bring.
    """
    try:
        raw = registry.services.lookup.base_models().get(ModelName.parse(model_name).name)
        if raw is not None:
            return deepcopy(dict(raw))
        config = registry.config(model_name).raw()
    except UnknownModelError:
        if ":" in str(model_name):  # open_clip knows no model of that name, but raises for such a place
            raise
        return None
    return {key: value for key, value in config.items() if key not in {"architecture", "preprocess_cfg"}}
