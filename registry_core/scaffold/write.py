"""Write a plugin package from the templates."""

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
_PACKAGE_FOLDER = "package"  # the folder of the templates; it is renamed to the name of the package


@dataclass(frozen=True, slots=True)
class Written:
    """A package that was written.

    Attributes:
        name: Name of the plugin and of its package.
        folder: Folder of the distribution.
        files: The files in it, as paths relative to the folder.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]


def write_plugin(name: str, folder: Path | None, taken: Mapping[str, str]) -> Written:
    """Write a package with a plugin.

    Args:
        name: Name of the plugin: letters, digits and underscores. A minus is replaced with an underscore.
        folder: Where the package is written. None means a new folder with the name of the distribution, in the current
            folder.
        taken: Names of the installed plugins -> the plugin with its distribution.

    Raises:
        RegistryError: The name is invalid or already used, or the folder is not empty.
    """
    plugin = _checked_name(name, taken)
    distribution = plugin.replace("_", "-")
    target = (folder or Path(distribution)).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RegistryError(
            f"{target} exists and is not an empty folder. Nothing was written.",
            path=target,
            argument="folder",
            expected="an empty folder, or a path that does not exist",
            advice="Give another folder with --folder.",
        )
    values = {
        "plugin": plugin,
        "distribution": distribution,
        "class_name": "".join(part.capitalize() for part in plugin.split("_")),
        "api": str(hookspecs.API),
    }
    paths = []
    for template, template_path in _templates(files(__package__) / "template", Path()):
        path = Path(*(plugin if part == _PACKAGE_FOLDER else part for part in template_path.parts))
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(values)
        (target / path).write_text(text, encoding="utf-8")
        paths.append(path)
    return Written(plugin, target, tuple(paths))


def next_steps(written: Written) -> str:
    """Return instructions for a package that was just written."""
    listed = "\n".join(f"  {file}" for file in written.files)
    return (
        f"{written.folder} contains\n{listed}\n\nThe package already works:\n"
        f"  cd {written.folder}\n"
        "  pip install -e '.[test]'\n"
        "  pytest\n"
        f"  registry-core explain {written.name}_ViT-B-32 --pretrained openai\n\n"
        f"Next, put your own model into {written.name}/model.py. README.md describes the other files."
    )


def _checked_name(name: str, taken: Mapping[str, str]) -> str:
    plugin = name.strip().replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", plugin) or keyword.iskeyword(plugin):
        raise RegistryError(
            f"{name!r} cannot be the name of a plugin and its package: expected lower-case letters, digits and "
            "underscores, beginning with a letter, such as my_clip. Nothing was written.",
            name=name,
            argument="name",
            expected="lower-case letters, digits and underscores, beginning with a letter",
            found=name,
        )
    if plugin in taken:
        raise RegistryError(
            f"The name {plugin!r} is already used by the plugin {taken[plugin]}. Nothing was written.",
            name=plugin,
            argument="name",
            found=taken[plugin],
            advice="Choose another name.",
        )
    if importlib.util.find_spec(plugin) is not None:
        raise RegistryError(
            f"A package {plugin!r} can already be imported in this environment, and one of the two packages would hide "
            "the other. Nothing was written.",
            name=plugin,
            argument="name",
            advice="Choose another name.",
        )
    return plugin


def _templates(folder: Traversable, path: Path) -> list[tuple[Traversable, Path]]:
    """Return the templates below a folder, each with the path of the file that is written from it."""
    found: list[tuple[Traversable, Path]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _templates(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            found.append((entry, path / entry.name.removesuffix(_SUFFIX)))
    return found
