"""The two kinds of model repositories: a folder on this machine, and a repository of the Hugging Face hub."""

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
from registry_core.config import HUB_FILENAMES
from registry_core.errors import close_names, did_you_mean, listing
from registry_core.fetch import CONFIG_FILENAME, is_repository, is_revision

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".npz")
MAIN = "main"


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder as `registry.save` writes it, or as it is downloaded from a hub repository.

    Attributes:
        name: The model name that the caller gave.
        path: Absolute path, which stays valid in another working directory.
    """

    name: str
    path: Path

    @classmethod
    def parse(cls, name: str, address: str) -> LocalFolder:
        """Return the folder at the path `address`.

        Raises:
            UnknownModelError: There is no such folder, or it cannot be read.
            ConfigError: The folder holds no config.
        """
        path = _folder_path(name, address)
        try:
            if not (path / CONFIG_FILENAME).is_file():
                raise _no_config(name, path)
        except OSError as error:
            raise UnknownModelError(
                _unreadable(name, error), name=name, path=path, found=error, advice=_PERMISSIONS
            ) from error
        return cls(name, path)

    @property
    def config(self) -> LocalFile:
        """The config file."""
        return self.file(CONFIG_FILENAME)

    def file(self, name: str) -> LocalFile:
        """Return a file of the folder."""
        return LocalFile(self.path / name)

    def weights(self) -> Weights:
        """Return the file with a usual name, or else the only file that looks like weights.

        Raises:
            UnknownWeightsError: There are no weights, or the folder cannot be listed.
            ConflictError: There are several weight files, and none has a usual name.
        """
        try:
            entries = _entries(self.path)
        except OSError as error:
            raise UnknownWeightsError(
                _unreadable(self.name, error), name=self.name, path=self.path, found=error, advice=_PERMISSIONS
            ) from error
        files = {name for name, is_file in entries.items() if is_file}
        candidates = sorted(name for name in files if Path(name).suffix.lower() in WEIGHTS_SUFFIXES)
        usual = [name for name in HUB_FILENAMES if name in files]
        if not candidates:
            raise self._no_weights(entries)
        if not usual and len(candidates) > 1:
            raise self._several_weights(candidates)
        return Weights((self.file((usual or candidates)[0]),))

    def _no_weights(self, entries: Mapping[str, bool]) -> UnknownWeightsError:
        return UnknownWeightsError(
            f"{self.name} has a config and no weights: {self.path} holds {_described(entries)}. Expected "
            f"{', '.join(HUB_FILENAMES)}, or one other file that ends in {', '.join(WEIGHTS_SUFFIXES)}. Nothing was "
            "built.",
            name=self.name,
            path=self.path,
            expected=HUB_FILENAMES,
            found=sorted(entries),
            advice="Put the weights there, give pretrained= their path, or pretrained=False for random ones.",
        )

    def _several_weights(self, candidates: list[str]) -> ConflictError:
        return ConflictError(
            f"{self.name} has several files that may be its weights: {listing(candidates)}. None is named "
            f"{' or '.join(HUB_FILENAMES)}, so the choice is not clear. Nothing was built.",
            name=self.name,
            path=self.path,
            expected=HUB_FILENAMES,
            found=candidates,
            advice=f"Rename one, or give its path: pretrained={str(self.path / candidates[0])!r}.",
        )


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of the Hugging Face hub.

    Attributes:
        name: The model name that the caller gave.
        repo: `org/repo`.
        revision: Branch, tag or commit.
    """

    name: str
    repo: str
    revision: str

    @classmethod
    def parse(cls, name: str, address: str) -> HubRepository:
        """Return the repository at `org/repo` or `org/repo@revision`. Only fetching its files tells whether it exists.

        Raises:
            UnknownModelError: The address is not valid.
        """
        repo, at, revision = address.partition("@")
        revision = revision if at else MAIN
        if not is_repository(repo) or not is_revision(revision):
            raise UnknownModelError(
                f"{name!r} is not a repository of the hub. Expected hf-hub:org/repo, or hf-hub:org/repo@revision with "
                "a branch, tag or commit. Nothing was fetched.",
                name=name,
                expected="hf-hub:org/repo[@revision]",
            )
        return cls(name, repo, revision)

    @property
    def config(self) -> HubFile:
        """The config file."""
        return self.file(CONFIG_FILENAME)

    def file(self, name: str) -> HubFile:
        """Return a file of the repository."""
        return HubFile(self.repo, (name,), self.revision)

    def weights(self) -> Weights:
        """Return the first of the usual file names that the repository has. Safe formats go before others."""
        return Weights((HubFile(self.repo, HUB_FILENAMES, self.revision),))


SCHEMES: dict[str, Callable[[str, str], LocalFolder | HubRepository]] = {
    "local-dir": LocalFolder.parse,
    "hf-hub": HubRepository.parse,
}

_PERMISSIONS = "Correct the folder's permissions."


def model_repository(name: str) -> LocalFolder | HubRepository | None:
    """Return the model repository that a name refers to, or None if the name has another scheme or no scheme.

    Raises:
        UnknownModelError: The scheme is known, but the address is not valid or the folder does not exist.
        ConfigError: The folder holds no config.
    """
    scheme, _, address = name.partition(":")
    parse = SCHEMES.get(scheme)
    return None if parse is None else parse(name, address)


def _folder_path(name: str, address: str) -> Path:
    if not address.strip():
        raise UnknownModelError(
            f"{name!r} names no folder. Expected local-dir:path/to/folder.",
            name=name,
            expected="local-dir:path/to/folder",
        )
    try:
        path = Path(address).expanduser().absolute()
        exists = path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a null character, or of an unknown user
        reason = str(error).rstrip(".")
        raise UnknownModelError(
            f"{name!r} is not a valid path on this system: {reason}.", name=name, found=reason
        ) from error
    if not exists:
        raise _no_folder(name, path)
    return path


def _no_folder(name: str, path: Path) -> UnknownModelError:
    if path.exists():
        return UnknownModelError(
            f"{name!r} names a file, expected a folder with {CONFIG_FILENAME}. Nothing was built.",
            name=name,
            path=path,
            expected=f"a folder with {CONFIG_FILENAME}",
            found="a file",
            advice="Give its folder, or another model's name and the file as pretrained=.",
        )
    siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    return UnknownModelError(
        f"{name!r}: the folder {path} does not exist.{did_you_mean(path.name, siblings)} Nothing was built.",
        name=name,
        path=path,
        suggestions=close_names(path.name, siblings),
    )


def _no_config(name: str, path: Path) -> ConfigError:
    entries = _entries(path)
    advice = "Write the config with registry.save, or name the folder that holds it."
    if "config.json" in entries:
        advice = "Its config.json is from another library, such as transformers, and is not read."
    return ConfigError(
        f"{path} has no {CONFIG_FILENAME}. It holds {_described(entries)}. Nothing was built.",
        name=name,
        path=path,
        expected=CONFIG_FILENAME,
        found=sorted(entries),
        advice=advice,
    )


def _entries(folder: Path) -> dict[str, bool]:
    """Return the names in a folder, each with whether it is a file."""
    return {entry.name: entry.is_file() for entry in folder.iterdir()}


def _described(entries: Mapping[str, bool]) -> str:
    """Return what a folder holds, for messages."""
    return listing([f"{name}{'' if entries[name] else ' (not a file)'}" for name in sorted(entries)]) or "nothing"


def _unreadable(name: str, error: OSError) -> str:
    return f"{name!r} cannot be read: {error}. Nothing was built."
