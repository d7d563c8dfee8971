"""The two places that a name can be: a folder of this machine, a repository of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_core import (
    ConfigError,
    ConflictError,
    HubFile,
    LocalFile,
    UnknownModelError,
    UnknownWeightsError,
    Weights,
)
from registry_core.checkpoint.save import CONFIG_FILENAME
from registry_core.errors import did_you_mean, listing
from registry_core.safe_names import is_repository, is_revision
from registry_core.tables import HUB_FILENAMES

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".npz")
MAIN = "main"


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder as `registry.save` writes it, or as a hub repository is downloaded.

    Attributes:
        name: what the caller asked for.
        path: absolute, so that it still leads there from another working directory.
    """

    name: str
    path: Path

    @classmethod
    def parse(cls, name: str, address: str) -> LocalFolder:
        """The folder at a path.

        Raises:
            UnknownModelError: there is none, or none that may be looked into.
            ConfigError: it holds no config.
        """
        if not address.strip():
            raise UnknownModelError(f"{name!r} names no folder. Expected local-dir:path/to/folder.")
        try:
            path = Path(address).expanduser().absolute()
            found = path.is_dir()
        except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL, or of an unknown user
            raise UnknownModelError(f"{name!r} is no path that this system knows: {error}.") from error
        if not found:
            raise UnknownModelError(_no_folder(name, path))
        try:
            if not (path / CONFIG_FILENAME).is_file():
                raise ConfigError(_no_config(path))
        except OSError as error:
            raise UnknownModelError(_closed(name, error)) from error
        return cls(name, path)

    @property
    def config(self) -> LocalFile:
        """The config file."""
        return self.file(CONFIG_FILENAME)

    def file(self, name: str) -> LocalFile:
        """A file of the folder."""
        return LocalFile(self.path / name)

    def weights(self) -> Weights:
        """The file with a usual name, else the only file that looks like weights.

        Raises:
            UnknownWeightsError: there is none, or the folder may not be listed.
            ConflictError: there are several, none with a usual name.
        """
        try:
            entries = _entries(self.path)
        except OSError as error:
            raise UnknownWeightsError(_closed(self.name, error)) from error
        held = {name for name, is_file in entries.items() if is_file}
        candidates = sorted(name for name in held if Path(name).suffix.lower() in WEIGHTS_SUFFIXES)
        usual = [name for name in HUB_FILENAMES if name in held]
        if not candidates:
            raise UnknownWeightsError(
                f"{self.name} has a config and no weights: {self.path} holds {_described(entries)}. Expected "
                f"{', '.join(HUB_FILENAMES)}, or one other file that ends in {', '.join(WEIGHTS_SUFFIXES)}. Nothing "
                "was built. Put the weights there, give pretrained= their path, or pretrained=False for random ones."
            )
        if not usual and len(candidates) > 1:
            raise ConflictError(
                f"{self.name} has several files that may be its weights: {listing(candidates)}. None is named "
                f"{' or '.join(HUB_FILENAMES)}, so which is meant cannot be told. Nothing was built. Rename one, or "
                f"give its path: pretrained={str(self.path / candidates[0])!r}."
            )
        return Weights((self.file((usual or candidates)[0]),))


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of the Hugging Face hub.

    Attributes:
        name: what the caller asked for.
        repo: `org/repo`.
        revision: branch, tag or commit.
    """

    name: str
    repo: str
    revision: str

    @classmethod
    def parse(cls, name: str, address: str) -> HubRepository:
        """The repository at `org/repo` or `org/repo@revision`; whether it exists is found out when it is asked.

        Raises:
            UnknownModelError: no such address.
        """
        repo, at, revision = address.partition("@")
        revision = revision if at else MAIN
        if not is_repository(repo) or not is_revision(revision):
            raise UnknownModelError(
                f"{name!r} is no repository of the hub. Expected hf-hub:org/repo, or hf-hub:org/repo@revision with a "
                "branch, tag or commit. Nothing was fetched."
            )
        return cls(name, repo, revision)

    @property
    def config(self) -> HubFile:
        """The config file."""
        return self.file(CONFIG_FILENAME)

    def file(self, name: str) -> HubFile:
        """A file of the repository."""
        return HubFile(self.repo, (name,), self.revision)

    def weights(self) -> Weights:
        """The first of the usual names that the repository has, safe serialisations before others."""
        return Weights((HubFile(self.repo, HUB_FILENAMES, self.revision),))


SCHEMES: dict[str, Callable[[str, str], LocalFolder | HubRepository]] = {
    "local-dir": LocalFolder.parse,
    "hf-hub": HubRepository.parse,
}


def place_of(name: str) -> LocalFolder | HubRepository | None:
    """The place that a name stands for, or None where it has another scheme or none.

    Raises:
        UnknownModelError, ConfigError: the scheme is known, and what follows leads nowhere.
    """
    scheme, _, address = name.partition(":")
    parse = SCHEMES.get(scheme)
    return None if parse is None else parse(name, address)


def _no_folder(name: str, path: Path) -> str:
    if path.exists():
        return (
            f"{name!r} names a file, expected a folder with {CONFIG_FILENAME}. Nothing was built. Give its folder, or "
            "another model's name and the file as pretrained=."
        )
    siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    return f"{name!r}: there is no folder {path}.{did_you_mean(path.name, siblings)} Nothing was built."


def _no_config(path: Path) -> str:
    entries = _entries(path)
    advice = "Write it with registry.save, or name the folder that has it."
    if "config.json" in entries:
        advice = "Its config.json is another library's, such as transformers', which is not read here."
    return f"{path} has no {CONFIG_FILENAME}. It holds {_described(entries)}. Nothing was built. {advice}"


def _entries(folder: Path) -> dict[str, bool]:
    """Name -> whether it is a file."""
    return {entry.name: entry.is_file() for entry in folder.iterdir()}


def _described(entries: Mapping[str, bool]) -> str:
    """What a folder holds, for messages."""
    return listing([f"{name}{'' if entries[name] else ' (no file)'}" for name in sorted(entries)]) or "nothing"


def _closed(name: str, error: OSError) -> str:
    return f"{name!r} may not be looked into: {error}. Nothing was built. Correct the folder's permissions."
