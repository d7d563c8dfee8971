"""Pictures in files: which files of a folder are pictures, and why one cannot be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.errors import InputError
from registry_core.preprocess.pictures import torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that pillow only recognises.
_UNREADABLE = {"MPEG"}


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """What was found.

    Attributes:
        paths: as they were given, in that order; those of a folder sorted.
        problems: those of them that give no picture for sure -> the reason.
    """

    paths: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def refuse(self, path: str, reason: str) -> None:
        """Add a path that gives no picture."""
        self.paths.append(path)
        self.problems[path] = reason


def find_pictures(entries: Iterable[str]) -> PictureFiles:
    """The files that are named, and of folders those below them with the ending of a picture; hidden ones are left out.

    Raises:
        BuildError: pillow or torchvision is not installed.
    """
    torchvision_functional()
    found = PictureFiles()
    for entry in entries:
        if os.path.isdir(entry):  # noqa: PTH112 - a path stays as it was spelt
            _walk(entry, found)
        elif os.path.exists(entry):  # noqa: PTH110
            found.paths.append(entry)
        else:
            found.refuse(entry, os.strerror(errno.ENOENT))
    return found


@lru_cache
def picture_endings() -> frozenset[str]:
    """The endings, such as ".jpg", of the formats that pillow can read."""
    from PIL import Image, ImageFile

    def readable(format_name: str) -> bool:
        factory = Image.OPEN.get(format_name, (None,))[0]
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return factory is not None and not stub and format_name not in _UNREADABLE

    return frozenset(ending for ending, name in Image.registered_extensions().items() if readable(name))


def read_picture(path: str | os.PathLike[str]) -> Image:
    """The picture in a file, decoded.

    Raises:
        InputError: the reason why it cannot be read, without the file's name.
    """
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class
    from PIL import UnidentifiedImageError

    kind = Path(path)
    if kind.exists() and not (kind.is_file() or kind.is_dir()):  # a pipe: to open it would wait without end
        raise InputError("it is no regular file")
    try:
        with pillow.open(path) as picture:
            picture.load()
    except UnidentifiedImageError as error:
        raise InputError("the file is no picture that pillow can read") from error
    except Exception as error:
        # Decoders raise whatever a damaged file leads them to, and one file must not end the work on others.
        strerror = error.strerror if isinstance(error, OSError) else None
        raise InputError(strerror or f"{type(error).__name__}: {error}") from error
    return picture


def _walk(folder: str, found: PictureFiles) -> None:
    paths: list[str] = []
    closed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [
            os.path.join(place, name)  # noqa: PTH118 - likewise
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in picture_endings()  # noqa: PTH122
        ]
    found.paths.extend(sorted(paths))
    for error in closed:
        found.refuse(str(error.filename), error.strerror or str(error))
    if not paths and not closed:
        found.refuse(folder, "no file in this folder has the ending of a picture")
