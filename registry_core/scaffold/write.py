"""From a name and the templates to a folder with a package in it."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from registry_core import hookspecs
from registry_core.errors import RegistryError

_SUFFIX = ".tmpl"
_PACKAGE_FOLDER = "package"  # in the templates; in what is written it has the package's name


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        name: of the plugin and of its package.
        folder: of the distribution.
        files: in it, by relative path.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]


def write_plugin(name: str, folder: Path | None, taken: Mapping[str, str]) -> Written:
    """Write a package with a plugin.

    Args:
        name: letters, digits and underscores; a minus counts as an underscore.
        folder: where to; None means a new folder beside the others, named as the distribution.
        taken: names of the installed plugins -> who brings them.

    Raises:
        RegistryError: the name is not to be had, or something is in the folder already.
    """
    plugin = _checked(name, taken)
    distribution = plugin.replace("_", "-")
    target = (folder or Path(distribution)).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RegistryError(
            f"{target} exists and is not an empty folder. Nothing was written; give another one by --folder."
        )
    words = {
        "plugin": plugin,
        "distribution": distribution,
        "class_name": "".join(part.capitalize() for part in plugin.split("_")),
        "api": str(hookspecs.API),
    }
    written = []
    for template, path in _templates(files(__package__) / "template", Path()):
        relative = Path(*(plugin if part == _PACKAGE_FOLDER else part for part in path.parts))
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        (target / relative).write_text(text, encoding="utf-8")
        written.append(relative)
    return Written(plugin, target, tuple(written))


def next_steps(written: Written) -> str:
    """What to do with a package that was just written."""
    listed = "\n".join(f"  {file}" for file in written.files)
    return (
        f"{written.folder} has\n{listed}\n\nIt works as it is:\n"
        f"  cd {written.folder}\n"
        "  pip install -e '.[test]'\n"
        "  pytest\n"
        f"  registry-core explain {written.name}_ViT-B-32 --pretrained openai\n\n"
        f"Then make it yours: {written.name}/model.py holds the module, README.md says what the other files are for."
    )


def _checked(name: str, taken: Mapping[str, str]) -> str:
    plugin = name.strip().replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plugin) or keyword.iskeyword(plugin):
        raise RegistryError(
            f"{name!r} cannot be the name of a plugin and its package: expected small letters, digits and underscores, "
            "a letter first, such as my_clip. Nothing was written."
        )
    if plugin in taken:
        raise RegistryError(
            f"The name {plugin!r} is already used by the plugin {taken[plugin]}. Nothing was written; take another one."
        )
    if importlib.util.find_spec(plugin) is not None:
        raise RegistryError(
            f"A package {plugin!r} can be imported here already, and one of the two would hide the other. Nothing was "
            "written; take another name."
        )
    return plugin


def _templates(folder: Traversable, path: Path) -> list[tuple[Traversable, Path]]:
    """The templates below a folder, with the paths of what they become."""
    found: list[tuple[Traversable, Path]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _templates(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            found.append((entry, path / entry.name.removesuffix(_SUFFIX)))
    return found
