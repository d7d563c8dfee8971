"""Configs that the user adds by file or mapping, beside those that plugins bring."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from registry_core.arguments import path_of, text_of
from registry_core.config import RawConfig
from registry_core.errors import ConfigError, TakenNameError
from registry_core.names import ModelName

ENVIRONMENT = "REGISTRY_CORE_CONFIG_PATH"

# A folder may hold other JSON beside configs: a checkpoint's index, a tokenizer, a package.json. None has one of these.
_OF_A_CONFIG = frozenset({"model_cfg", "embed_dim", "vision_cfg", "text_cfg", "architecture"})


@dataclass(frozen=True, slots=True)
class UserConfig:
    """A raw config and where it comes from: a file, or "(mapping)"."""

    raw: RawConfig
    origin: str


def read_config(source: str | os.PathLike[str] | Mapping[str, object], name: str | None) -> tuple[str, UserConfig]:
    """The name and raw config in a file or mapping.

    Both forms in use are read: the bare config, and the hub's `{"model_cfg": ..., "preprocess_cfg": ...}`.

    Raises:
        OverrideError: neither a path nor a mapping.
        ConfigError: no readable JSON object, a mapping without a name, or a name that create() would take apart.
    """
    if name is not None:
        name = text_of("name", name)
    if isinstance(source, Mapping):
        if not name:
            raise ConfigError("A config given as a mapping needs a name: add_config(mapping, name='my-model').")
        return _reachable(name), UserConfig(
            deepcopy(_flat(source)), "(mapping)"
        )  # what the caller changes later is his
    path = path_of("source", source)
    return _reachable(name or path.stem), UserConfig(read_raw(path), str(path))


def read_raw(path: Path) -> RawConfig:
    """The raw config in a JSON file of either form.

    Raises:
        ConfigError: it holds no readable JSON object.
    """
    raw = _json(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds a JSON {type(raw).__name__}, expected an object. No model was added.")
    return _flat(raw)


def configs_on_path() -> dict[str, UserConfig]:
    """The configs in the folders (or files) that REGISTRY_CORE_CONFIG_PATH names, so that commands see them too.

    Raises:
        ConfigError: as for `configs_in`.
    """
    return configs_in(filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)), ENVIRONMENT)


def configs_in(entries: Iterable[str], said: str) -> dict[str, UserConfig]:
    """The configs in folders and files, by name. Of a folder, `*.json` files that have a key of a config are taken.

    Args:
        entries: paths; a file that is reached twice counts once.
        said: who named them, for messages.

    Raises:
        OverrideError: an entry that can be no path.
        ConfigError: an entry that does not exist, a file that is no config, or two files of one name.
    """
    found: dict[str, UserConfig] = {}
    for entry in entries:
        path = path_of(said, entry)
        if not path.exists():
            raise ConfigError(f"{said} names {path}, which does not exist. Correct it, or take it out.")
        for file in _config_files(path, said) if path.is_dir() else [path]:
            try:
                name, config = read_config(file, None)
            except ConfigError as error:
                raise ConfigError(f"{said}: {error}") from error
            other = found.setdefault(name, config)
            if not is_same_file(other.origin, config.origin):
                raise ConfigError(f"{said} leads to two configs named {name!r}: {other.origin} and {file}.")
    return found


def add_to_path(entries: Iterable[Path]) -> None:
    """Put files and folders on REGISTRY_CORE_CONFIG_PATH, for this process and for those that it starts from now on.

    Raises:
        ConfigError: a path that holds the character which separates the entries.
    """
    entries = [entry.expanduser().absolute() for entry in entries]
    for entry in entries:
        if os.pathsep in str(entry):
            raise ConfigError(
                f"{entry} cannot be named in {ENVIRONMENT}: {os.pathsep!r} separates its entries. No model was added. "
                "Move or rename it."
            )
    before = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    os.environ[ENVIRONMENT] = os.pathsep.join(filter(None, [*before, *map(str, entries)]))


def share_config(name: str, source: str | os.PathLike[str] | Mapping[str, object]) -> None:
    """Put a config's file on REGISTRY_CORE_CONFIG_PATH.

    Raises:
        ConfigError: it is no file, or another process would find it under another name.
    """
    if isinstance(source, Mapping) or Path(source).stem != name:
        what = "a mapping" if isinstance(source, Mapping) else str(source)
        raise ConfigError(
            f"{name!r} cannot be shared: another process reads files, and names each model by its file's stem, and "
            f"this is {what}. No model was added. Write it to a file {name}.json, and add that with share=True."
        )
    on_path = configs_on_path().get(name)
    if on_path is None or not is_same_file(on_path.origin, os.fspath(source)):
        add_to_path([Path(source)])


def refuse_taken(name: str, config: UserConfig, taken: Iterable[str], advice: str) -> None:
    """Refuse a config whose name a model has.

    Raises:
        TakenNameError: it is one of `taken`.
    """
    if name in taken:
        raise TakenNameError(
            f"There is already a model {name!r}; {config.origin} was not added, since a config never replaces another. "
            f"{advice}"
        )


def is_same_file(origin: str, other: str) -> bool:
    """Whether two origins of configs are one file."""
    return origin == other or Path(origin).expanduser().resolve() == Path(other).expanduser().resolve()


def _config_files(folder: Path, said: str) -> list[Path]:
    """The JSON files that speak of a model. One that cannot be read might, so it is an error."""
    files = []
    for file in sorted(folder.glob("*.json")):
        try:
            raw = _json(file)
        except ConfigError as error:
            raise ConfigError(f"{said}: {error}") from error
        if isinstance(raw, dict) and _OF_A_CONFIG & raw.keys():
            files.append(file)
    return files


def _json(path: Path) -> object:
    try:
        data: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last where brackets are nested by the thousand
        raise ConfigError(f"{path} could not be read as a JSON config: {error}. No model was added.") from error
    return data


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
    # null says nothing here and in `preprocess_cfg`, as it does not in open_clip.
    beside = {key: raw[key] for key in ("architecture", "preprocess_cfg") if raw.get(key) is not None}
    preprocess = beside.get("preprocess_cfg")
    if isinstance(preprocess, Mapping):
        beside["preprocess_cfg"] = {key: value for key, value in preprocess.items() if value is not None}
    return {**inner, **beside}
