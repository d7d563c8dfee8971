"""Configs that the user adds as a file or mapping, in addition to those that plugins provide."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from registry_core.arguments import path_of, text_of
from registry_core.config.model import RawConfig
from registry_core.config.names import ModelName
from registry_core.errors import ConfigError, TakenNameError

ENVIRONMENT = "REGISTRY_CORE_CONFIG_PATH"

# A folder may also contain other JSON files: the index of a checkpoint, a tokenizer, a package.json. None of these has
# one of the keys below.
_CONFIG_KEYS = frozenset({"model_cfg", "embed_dim", "vision_cfg", "text_cfg", "architecture"})


@dataclass(frozen=True, slots=True)
class UserConfig:
    """A raw config and its origin: the path of a file, or "(mapping)"."""

    raw: RawConfig
    origin: str


def read_config(source: str | os.PathLike[str] | Mapping[str, object], name: str | None) -> tuple[str, UserConfig]:
    """Return the name and the raw config in a file or mapping.

    Both forms in use are read: the config itself, and the hub's `{"model_cfg": ..., "preprocess_cfg": ...}`.

    Args:
        source: Path of a JSON file, or the config as a mapping.
        name: Name of the model. None means the stem of the file.

    Raises:
        OverrideError: The source is neither a path nor a mapping.
        ConfigError: The file is not a readable JSON object, a mapping has no name, or the name is not a plain model
            name.
    """
    if name is not None:
        name = text_of("name", name)
    if isinstance(source, Mapping):
        if not name:
            raise ConfigError(
                "A config given as a mapping needs a name. No model was added.",
                argument="name",
                advice="Give it one: add_config(mapping, name='my-model').",
            )
        # A copy: the caller may change the mapping later.
        return _plain_name(name), UserConfig(deepcopy(_flat(source)), "(mapping)")
    path = path_of("source", source)
    return _plain_name(name or path.stem), UserConfig(read_raw(path), str(path))


def read_raw(path: Path) -> RawConfig:
    """Return the raw config in a JSON file. Both forms are read, as in `read_config`.

    Raises:
        ConfigError: The file is not a readable JSON object.
    """
    raw = _json(path)
    if not isinstance(raw, dict):
        found = type(raw).__name__
        raise ConfigError(
            f"{path} holds a JSON {found}, expected an object. No model was added.",
            path=path,
            expected="an object",
            found=found,
        )
    return _flat(raw)


def configs_on_path() -> dict[str, UserConfig]:
    """Return the configs in the folders and files that REGISTRY_CORE_CONFIG_PATH names. Commands see them too.

    Raises:
        OverrideError, ConfigError: As for `configs_in`.
    """
    return configs_in(filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)), ENVIRONMENT)


def configs_in(entries: Iterable[str], named_by: str) -> dict[str, UserConfig]:
    """Return the configs in folders and files, by name. In a folder, `*.json` files with a config key are read.

    Args:
        entries: Paths. A file that is reached twice counts once.
        named_by: The variable or option that names the entries, for messages.

    Raises:
        OverrideError: An entry is not a path on this system.
        ConfigError: An entry does not exist, a file is not a config, or two files have one name.
    """
    found: dict[str, UserConfig] = {}
    for entry in entries:
        path = path_of(named_by, entry)
        if not path.exists():
            raise ConfigError(
                f"{named_by} names {path}, which does not exist.",
                argument=named_by,
                path=path,
                advice="Correct or remove the path.",
            )
        for file in _config_files(path, named_by) if path.is_dir() else [path]:
            try:
                name, config = read_config(file, None)
            except ConfigError as error:
                raise naming(error, named_by) from error
            other = found.setdefault(name, config)
            if not is_same_file(other.origin, config.origin):
                raise ConfigError(
                    f"{named_by} leads to two configs named {name!r}: {other.origin} and {file}. None was chosen.",
                    name=name,
                    argument=named_by,
                    path=file,
                    found=(other.origin, config.origin),
                    advice="Rename one.",
                )
    return found


def naming(error: ConfigError, named_by: str) -> ConfigError:
    """Return the error with the variable or option that named the config in front of its message.

    The other facts stay; `argument` becomes the variable or option.
    """
    result = ConfigError(f"{named_by}: {error}")
    vars(result).update(vars(error), argument=named_by)
    return result


def add_to_path(entries: Iterable[Path]) -> None:
    """Append files and folders to REGISTRY_CORE_CONFIG_PATH, for this process and those that it starts later.

    Raises:
        ConfigError: A path contains the character that separates the entries.
        OverrideError: A path begins with `~` and the name of an unknown user.
    """
    entries = [path_of(ENVIRONMENT, entry).absolute() for entry in entries]
    for entry in entries:
        if os.pathsep in str(entry):
            raise ConfigError(
                f"{entry} cannot be listed in {ENVIRONMENT}: {os.pathsep!r} separates its entries. No model was added.",
                argument=ENVIRONMENT,
                path=entry,
                found=os.pathsep,
                advice="Move or rename it.",
            )
    before = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    os.environ[ENVIRONMENT] = os.pathsep.join(filter(None, [*before, *map(str, entries)]))


def share_config(name: str, source: str | os.PathLike[str] | Mapping[str, object]) -> None:
    """Append the file of a config to REGISTRY_CORE_CONFIG_PATH.

    Raises:
        ConfigError: The source is not a file, or its stem is not the name: another process would not find the model.
    """
    if isinstance(source, Mapping) or Path(source).stem != name:
        given = "a mapping" if isinstance(source, Mapping) else str(source)
        raise ConfigError(
            f"{name!r} cannot be shared with other processes: they read the config from a file {name}.json, and it was "
            f"given as {given}. No model was added.",
            name=name,
            argument="share",
            expected=f"{name}.json",
            found=given,
            advice=f"Write the config to a file {name}.json, and add that file with share=True.",
        )
    on_path = configs_on_path().get(name)
    if on_path is None or not is_same_file(on_path.origin, os.fspath(source)):
        add_to_path([Path(source)])


def refuse_taken(name: str, config: UserConfig, taken: Iterable[str], advice: str) -> None:
    """Raise an error if the name of a config is taken.

    Args:
        name: Name of the config.
        config: The config.
        taken: The names of models.
        advice: What to do about it, for the message.

    Raises:
        TakenNameError: The name is one of `taken`.
    """
    if name in taken:
        raise TakenNameError(
            f"There is already a model {name!r}; {config.origin} was not added, since a config never replaces another.",
            name=name,
            found=config.origin,
            advice=advice,
        )


def is_same_file(origin: str, other: str) -> bool:
    """Whether two configs have the same origin: one file, however its path is written."""
    return origin == other or Path(origin).expanduser().resolve() == Path(other).expanduser().resolve()


def _config_files(folder: Path, named_by: str) -> list[Path]:
    """Return the JSON files that are configs. A file that cannot be read may be one, so it is an error."""
    files = []
    for file in sorted(folder.glob("*.json")):
        try:
            raw = _json(file)
        except ConfigError as error:
            raise naming(error, named_by) from error
        if isinstance(raw, dict) and _CONFIG_KEYS & raw.keys():
            files.append(file)
    return files


def _json(path: Path) -> object:
    try:
        data: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: thousands of nested brackets
        raise ConfigError(
            f"{path} could not be read as a JSON config: {error}. No model was added.", path=path
        ) from error
    return data


def _plain_name(name: str) -> str:
    """Return the name, unless `ModelName` would change it: then the model could not be found by it."""
    if not name.strip() or ":" in name or ModelName.parse(name).name != name:
        raise ConfigError(
            f"A model cannot be named {name!r}: a name is not empty, '/' is an old spelling of '-', and ':' follows a "
            "scheme or the name of a plugin. No model was added.",
            name=name,
            advice="Give it another name, such as 'my-model'.",
        )
    return name


def _flat(raw: Mapping[str, object]) -> RawConfig:
    """Return the nested form of the hub as one flat config. The flat form is returned unchanged."""
    inner = raw.get("model_cfg")
    if not isinstance(inner, Mapping):
        return dict(raw)
    # A null has no effect here and in `preprocess_cfg`, as in open_clip.
    outer = {key: raw[key] for key in ("architecture", "preprocess_cfg") if raw.get(key) is not None}
    preprocess = outer.get("preprocess_cfg")
    if isinstance(preprocess, Mapping):
        outer["preprocess_cfg"] = {key: value for key, value in preprocess.items() if value is not None}
    return {**inner, **outer}
