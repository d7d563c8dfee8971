"""Finding image files and reading them."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from registry_core import InputError
from registry_core.zero_shot.image_files import find_images, image_endings, read_image

CAT = Path(__file__).parents[2] / "examples" / "first_model" / "cat.jpg"


class TestFindImages:
    def test_folders_are_searched_and_sorted(self, tmp_path):
        for name in ("b.PNG", "a/z.jpg", "a/deep/y.webp", "notes.txt", "weights.h5", ".hidden.jpg", ".git/x.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = find_images([str(CAT), str(tmp_path)])
        names = [os.path.relpath(path, tmp_path) for path in found.paths[1:]]
        assert found.paths[0] == str(CAT)
        assert names == ["a/deep/y.webp", "a/z.jpg", "b.PNG"]
        assert found.problems == {}

    def test_a_given_file_counts_whatever_its_extension(self, tmp_path):
        shutil.copy(CAT, tmp_path / "cat")
        assert find_images([str(tmp_path / "cat")]).paths == [str(tmp_path / "cat")]

    def test_a_missing_file_and_a_folder_without_images_are_problems(self, tmp_path):
        found = find_images(["absent.jpg", str(CAT), str(tmp_path)])
        assert found.paths == ["absent.jpg", str(CAT), str(tmp_path)]
        assert found.problems == {
            "absent.jpg": "No such file or directory",
            str(tmp_path): "no file in this folder has the extension of an image",
        }

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read everything")
    def test_a_folder_without_read_permission_is_a_problem(self, tmp_path):
        tmp_path.chmod(0)
        assert find_images([str(tmp_path)]).problems == {str(tmp_path): "Permission denied"}
        tmp_path.chmod(0o700)

    def test_extensions_are_of_formats_that_can_be_read(self):
        assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif"} <= image_endings()
        assert not {".h5", ".pdf", ".mpg", ".grib"} & image_endings()


class TestReading:
    @pytest.mark.parametrize(
        ("kind", "mode"),
        [*itertools.product(("gif", "png", "tiff"), ("P", "L", "RGBA", "I;16")), ("tiff", "CMYK"), ("jpg", "CMYK")],
    )
    def test_many_formats_and_modes_are_read_as_pillow_reads_them(self, tmp_path, mode, kind):
        path = tmp_path / f"image.{kind}"
        Image.effect_mandelbrot((40, 50), (-2, -1, 1, 1), 50).convert(mode).save(path)
        image = read_image(path)
        with Image.open(path) as opened:
            assert (image.mode, image.size, image.tobytes()) == (opened.mode, opened.size, opened.tobytes())

    @pytest.mark.parametrize("name", ["text.jpg", "empty.png"])
    def test_a_file_that_is_not_an_image(self, damaged, name):
        with pytest.raises(InputError, match="the file is not an image that pillow can read") as caught:
            read_image(damaged / name)
        assert caught.value.path == damaged / name

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("cut.jpg", "truncated"),
            ("crc.png", "."),
            ("absent.jpg", "No such file or directory"),
            (".", "Is a directory"),
        ],
    )
    def test_a_file_that_cannot_be_read(self, damaged, name, reason):
        with pytest.raises(InputError, match=reason) as caught:
            read_image(damaged / name)
        assert caught.value.path == damaged / name

    def test_a_decompression_bomb_is_refused(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(InputError, match="decompression bomb"):
            read_image(CAT)

    def test_any_error_of_a_decoder_is_a_reason(self, monkeypatch, tmp_path):
        Image.new("L", (40, 40)).save(tmp_path / "x.png")

        def fail(self):
            raise AssertionError("odd chunk")

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", fail)
        with pytest.raises(InputError, match=r"^AssertionError: odd chunk$"):
            read_image(tmp_path / "x.png")

    def test_a_pipe_is_refused(self, tmp_path):
        """Opening it would block until some process writes to it."""
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(InputError, match="it is not a regular file"):
            read_image(tmp_path / "pipe.png")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
    def test_the_image_is_read_as_a_viewer_shows_it(self, tmp_path, orientation, kind):
        """EXIF's values: 2 mirrored, 3 upside down, 4 both, 5 to 8 the same turned by a quarter."""
        shown = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
        shown.paste((255, 0, 0), (0, 0, 16, 16))
        stored = {
            2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }  # fmt: skip
        pixels = shown.transpose(stored[orientation]) if orientation in stored else shown
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels.save(tmp_path / f"x.{kind}", exif=exif, **({"lossless": True} if kind == "webp" else {}))
        found = read_image(tmp_path / f"x.{kind}")
        assert found.size == shown.size
        red, grey = found.convert("RGB").getpixel((4, 4)), found.convert("RGB").getpixel((40, 28))
        assert (red[0] > 200, red[1] < 60) == (True, True)
        assert max(grey) - min(grey) < 20

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pillow's own, when it opens the file
    @pytest.mark.parametrize(
        "damage", [b"Exif\x00\x00", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00nonsense"]
    )
    def test_damaged_exif_does_not_matter(self, tmp_path, damage):
        Image.new("RGB", (20, 10), "red").save(tmp_path / "x.jpg", exif=damage)
        assert read_image(tmp_path / "x.jpg").size == (20, 10)
