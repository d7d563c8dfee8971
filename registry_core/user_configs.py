"""Configs that the user adds by file or mapping, beside those that plugins bring."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_core.config import RawConfig
from registry_core.errors import ConfigError
from registry_core.names import ModelName

ENVIRONMENT = "REGISTRY_CORE_CONFIG_PATH"


@dataclass(frozen=True, slots=True)
class UserConfig:
    """A raw config and where it comes from: a file, or "(mapping)"."""

    raw: RawConfig
    origin: str


def read_config(source: str | os.PathLike[str] | Mapping[str, object], name: str | None) -> tuple[str, UserConfig]:
    """The name and raw config in a file or mapping.

    Both forms in use are read: the bare config, and the hub's `{"model_cfg": ..., "preprocess_cfg": ...}`.

    Raises:
        ConfigError: no readable JSON object, a mapping without a name, or a name that create() would take apart.
    """
    if isinstance(source, Mapping):
        if not name:
            raise ConfigError("A config given as a mapping needs a name: add_config(mapping, name='my-model').")
        return _reachable(name), UserConfig(_flat(source), "(mapping)")
    path = Path(source).expanduser()
    return _reachable(name or path.stem), UserConfig(read_raw(path), str(path))


def read_raw(path: Path) -> RawConfig:
    """The raw config in a JSON file of either form.

    Raises:
        ConfigError: it holds no readable JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} could not be read as a JSON config: {error}. No model was added.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds a JSON {type(raw).__name__}, expected an object. No model was added.")
    return _flat(raw)


def configs_on_path() -> dict[str, UserConfig]:
    """The configs in the folders (or files) that REGISTRY_CORE_CONFIG_PATH names, so that commands see them too.

    Raises:
        ConfigError: an entry that does not exist, or a file that is no config.
    """
    found: dict[str, UserConfig] = {}
    for entry in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        path = Path(entry).expanduser()
        if not path.exists():
            raise ConfigError(f"{ENVIRONMENT} names {path}, which does not exist. Correct or unset the variable.")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            name, config = read_config(file, None)
            if name in found:
                raise ConfigError(
                    f"{ENVIRONMENT} leads to two configs named {name!r}: {found[name].origin} and {file}."
                )
            found[name] = config
    return found


def _reachable(name: str) -> str:
    """A name that leads back to its config."""
    if not name.strip() or ":" in name or ModelName.parse(name).name != name:
        raise ConfigError(
            f"A model cannot be named {name!r}: '/' is an old spelling of '-', and ':' ends a scheme's or a plugin's "
            "name. No model was added. Give it another name, such as 'my-model'."
        )
    return name


def _flat(raw: Mapping[str, object]) -> RawConfig:
    """The hub's nested form as one flat config; the bare form as it is."""
    inner = raw.get("model_cfg")
    if not isinstance(inner, Mapping):
        return dict(raw)
    beside = {key: raw[key] for key in ("architecture", "preprocess_cfg") if key in raw}
    preprocess = beside.get("preprocess_cfg")
    if isinstance(preprocess, Mapping):  # null says nothing there, as it does not in open_clip
        beside["preprocess_cfg"] = {key: value for key, value in preprocess.items() if value is not None}
    return {**inner, **beside}
