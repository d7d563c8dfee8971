"""Model names and their configs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from registry_core import UnknownModelError, registry
from registry_core.config.names import ModelName
from registry_core.config.user import configs_in

__all__ = ["add_model_config", "get_model_config", "list_models"]


def list_models() -> list[str]:
    """Return all model names, including those of DA-CLIP and other plugins."""
    return registry.list_models()


def add_model_config(path: str | Path) -> None:
    """Add a config file, or all configs of a folder, as models. Other JSON files in the folder are ignored.

    Raises:
        TakenNameError: A model of that name already exists. It is not replaced.
        ConfigError: A file cannot be read, or is not the config of a model.
    """
    for config in configs_in([str(path)], "add_model_config").values():
        registry.add_config(config.origin)


def get_model_config(model_name: str) -> dict[str, Any] | None:
    """Return the config of a model as JSON data that open_clip can read, or None if the model does not exist.

    Raises:
        RegistryError: A folder or repository does not exist or has no config, or two plugins provide the name.
    """
    try:
        raw = registry.services.catalog.base_models().get(ModelName.parse(model_name).name)
        if raw is not None:
            return deepcopy(dict(raw))
        config = registry.config(model_name).raw()
    except UnknownModelError:
        if ":" in str(model_name):  # as open_clip does for the name of a folder or repository
            raise
        return None
    return {key: value for key, value in config.items() if key not in {"architecture", "preprocess_cfg"}}
