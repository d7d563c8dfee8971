"""Find the image files in folders and read them, with a reason for each file that cannot be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry_core.errors import InputError
from registry_core.preprocess.images import torchvision_functional

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that pillow can recognise but not read.
_UNREADABLE = {"MPEG"}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The files that were found.

    Attributes:
        paths: Paths as the caller spelled them, in the order given. The files of a folder are sorted.
        problems: Path -> the reason, for each of these paths that is certainly not an image.
    """

    paths: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def add_problem(self, path: str, reason: str) -> None:
        """Add a path that is not an image, with the reason."""
        self.paths.append(path)
        self.problems[path] = reason


def find_images(entries: Iterable[str]) -> ImageFiles:
    """Find image files.

    Args:
        entries: Files, and folders that are searched recursively. A given file counts whatever its extension. In a
            folder, files without the extension of an image are skipped, and so are hidden files and folders.

    Raises:
        BuildError: Pillow or torchvision is not installed.
    """
    torchvision_functional()  # checks that the libraries are installed
    files = ImageFiles()
    for entry in entries:
        if os.path.isdir(entry):  # noqa: PTH112 - pathlib would change the spelling of the path
            _search_folder(entry, files)
        elif os.path.exists(entry):  # noqa: PTH110 - as above
            files.paths.append(entry)
        else:
            files.add_problem(entry, os.strerror(errno.ENOENT))
    return files


@lru_cache
def image_endings() -> frozenset[str]:
    """Return the file extensions, such as ".jpg", of the formats that pillow can read."""
    from PIL import Image, ImageFile

    def readable(format_name: str) -> bool:
        factory = Image.OPEN.get(format_name, (None,))[0]
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return factory is not None and not stub and format_name not in _UNREADABLE

    return frozenset(ending for ending, name in Image.registered_extensions().items() if readable(name))


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read and decode the image in a file. It is turned as its EXIF orientation says.

    Raises:
        InputError: The file cannot be read. The message is the reason alone; the caller adds the name of the file.
    """
    from PIL import Image as pillow  # noqa: N813 - `Image` is the class
    from PIL import UnidentifiedImageError

    file = Path(path)
    if file.exists() and not (file.is_file() or file.is_dir()):  # opening a pipe could block forever
        raise InputError("it is not a regular file", path=file)
    try:
        with pillow.open(path) as image:
            image.load()
            return _upright(image)
    except UnidentifiedImageError as error:
        raise InputError("the file is not an image that pillow can read", path=file) from error
    except Exception as error:
        # Decoders raise many kinds of errors for damaged files, and one such file must not stop the others.
        strerror = error.strerror if isinstance(error, OSError) else None
        raise InputError(strerror or f"{type(error).__name__}: {error}", path=file, found=error) from error


def _upright(image: Image) -> Image:
    """Return the image as a viewer shows it. Cameras store the sensor's rows and say in EXIF how to turn them."""
    from PIL import ExifTags, ImageOps

    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # noqa: BLE001 - damaged EXIF raises errors of many kinds, and the pixels are fine
        return image


def _search_folder(folder: str, files: ImageFiles) -> None:
    paths: list[str] = []
    errors: list[OSError] = []
    for parent, folders, filenames in os.walk(folder, onerror=errors.append):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk skips what is removed here
        paths += [
            os.path.join(parent, name)  # noqa: PTH118 - pathlib would change the spelling of the path
            for name in filenames
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in image_endings()  # noqa: PTH122 - as above
        ]
    files.paths.extend(sorted(paths))
    for error in errors:
        files.add_problem(str(error.filename), error.strerror or str(error))
    if not paths and not errors:
        files.add_problem(folder, "no file in this folder has the extension of an image")
