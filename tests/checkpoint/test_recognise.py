"""Files are recognised by content. The error for any other file states what the file is and what to do with it."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from registry_core import CheckpointError, UnsafeCheckpointError
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index

EXPECTED_FORMAT = {
    "safetensors": "safetensors",
    "torch": "torch zip archive",
    "training": "torch zip archive",
    "legacy": "legacy torch file",
    "script": "TorchScript archive, read as data",
    "npz": "NumPy archive (.npz)",
}


class TestEveryFormatIsReadUnderAnySuffix:
    @pytest.mark.parametrize("kind", EXPECTED_FORMAT)
    @pytest.mark.parametrize("name", ["x.pt", "x.safetensors", "x", "x.json"])
    def test_values_are_equal(self, small, write, assert_holds, kind, name):
        model = small.create("small", write(kind, name))
        assert_holds(model)
        assert small.report(model).format == EXPECTED_FORMAT[kind]

    @pytest.mark.parametrize("kind", EXPECTED_FORMAT)
    def test_outputs_are_equal(self, small, source, write, inputs, kind):
        model = small.create("small", write(kind))
        with torch.no_grad():
            for got, expected in zip(model(*inputs), source(*inputs), strict=True):
                assert torch.equal(got, expected)


def html(path):
    path.write_text("\ufeff\n <!DOCTYPE html><html><title>Sign in</title></html>")


def xml(path):
    path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')


def lfs(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605000000\n")


def json_text(path):
    path.write_text(json.dumps({"model_cfg": {"embed_dim": 512}}))


def gzipped(path):
    path.write_bytes(gzip.compress(b"weights" * 100))


def tar(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("model.pt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"1234"))


def npy(array):
    """Return the bytes of an array as NumPy writes them."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def empty(path):
    path.touch()


def hdf5(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
        archive.writestr("readme.txt", "weights inside")


def text(path):
    path.write_bytes(b"this is a text without any weights")


NOT_CHECKPOINTS = {
    html: r"is an HTML page, not weights\. Nothing was loaded\. The server probably required a login, or .*address was "
    r"wrong\. Open the address in a browser, then download the file itself\.",
    lfs: r"is a Git LFS pointer, not the file that it points to\. Nothing was loaded\. Run `git lfs pull` in its",
    json_text: r"is JSON text, not weights\. Nothing was loaded\. Add a model config by registry\.add_config, and give",
    gzipped: r"is gzip data\. Nothing was loaded\. Unpack it with gunzip, and give the path of the result\.",
    tar: r"is a tar archive\. Nothing was loaded\. Unpack it, and give the path of the checkpoint in it\.",
    empty: r"is an empty file\. Nothing was loaded\. An interrupted download leaves an empty file; download it again\.",
    hdf5: r"is an HDF5 file, as Keras writes them\. Nothing was loaded\. Convert its tensors to \.safetensors\.",
    other_zip: r"is a zip archive but not a torch checkpoint: it does not hold exactly one `<name>/data\.pkl`\. It "
    r"holds word/document\.xml, readme\.txt\. Nothing was loaded\. Unpack it, or convert it to \.safetensors\.",
    text: r"is not a checkpoint of a supported format: it starts with b'this is a text w'\. Expected safetensors, a "
    r"file of torch\.save or a TorchScript archive\. Nothing was loaded\.",
}


class TestOtherFiles:
    @pytest.mark.parametrize("make", NOT_CHECKPOINTS, ids=lambda make: make.__name__)
    def test_are_named_with_the_path_and_what_to_do(self, small, tmp_path, make):
        path = tmp_path / "weights.safetensors"
        make(path)
        with pytest.raises(CheckpointError, match=NOT_CHECKPOINTS[make]) as caught:
            small.create("small", path)
        assert str(caught.value).startswith(f"{path} is ")
        assert caught.value.path == path

    def test_an_xml_error_page_is_an_html_page_too(self, small, tmp_path):
        xml(tmp_path / "x")
        with pytest.raises(CheckpointError) as caught:
            small.create("small", tmp_path / "x")
        assert caught.value.found == "an HTML page, not weights"

    def test_a_zip_with_two_checkpoints(self, small, tmp_path):
        path = tmp_path / "two.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for root in ("a", "b"):
                archive.writestr(f"{root}/data.pkl", pickle.dumps({}, 2))
        with pytest.raises(CheckpointError) as caught:
            small.create("small", path)
        assert (caught.value.expected, caught.value.found) == ("<name>/data.pkl", ["a/data.pkl", "b/data.pkl"])

    def test_a_folder_with_its_content(self, small, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        with pytest.raises(CheckpointError, match=r"is a folder, expected a checkpoint file\. The folder is empty\."):
            small.create("small", folder)
        (folder / "model.pt").touch()
        with pytest.raises(
            CheckpointError, match=r"The folder holds model\.pt\. Give the path of the file it"
        ) as caught:
            small.create("small", folder)
        assert (caught.value.path, caught.value.found) == (folder, "a folder")

    def test_a_pipe_is_refused_without_waiting_for_a_writer(self, small, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match=r"pipe is not a regular file\. Copy its content into a file, and"):
            small.create("small", tmp_path / "pipe")


class TestUnreadable:
    def test_vanished_after_it_was_found(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError, match=r"could not be opened: Not a directory\. Check the path and its"):
            CheckpointFile(tmp_path / "file" / "below")
        with pytest.raises(CheckpointError) as caught:
            CheckpointFile(tmp_path / "gone.pt")
        assert caught.value.path == tmp_path / "gone.pt"
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become another user")
    @pytest.mark.parametrize("folder", [False, True])
    def test_permission_denied(self, write, folder):
        with tempfile.TemporaryDirectory() as opened:  # other users cannot enter pytest's own folders
            Path(opened).chmod(0o755)
            target = write("torch").rename(Path(opened) / "private.pt")
            if folder:
                target = Path(opened) / "private"
                target.mkdir()
            target.chmod(0o711 if folder else 0o600)
            os.seteuid(65534)
            try:
                with pytest.raises(CheckpointError) as caught:
                    CheckpointFile(target)
            finally:
                os.seteuid(0)
            assert caught.value.path == target
            assert isinstance(caught.value.__cause__, PermissionError)


class TestBarePickles:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_are_refused_unread(self, small, tmp_path, protocol):
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps({"weight": [1.0]}, protocol))
        with pytest.raises(
            UnsafeCheckpointError,
            match=r"is a bare pickle, not written by torch\.save\. Reading it could run code\. Nothing was run and "
            r"nothing was loaded\. Load it where it was made, and save its tensors as \.safetensors\.",
        ) as caught:
            small.create("small", path)
        assert caught.value.path == path


class TestNumpyArchives:
    """Arrays of .npz are read as tensors; anything but plain numbers is refused."""

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (npy(np.array([{}], dtype=object)), r"has a header or dtype that is not supported \('\|O'\)"),
            (npy(np.ones((2, 3), order="F")), "is in Fortran order, which is not supported"),
            (npy(np.ones(3))[:-8], r"of shape \(3,\) does not fit its record"),
        ],
        ids=["objects", "Fortran", "short"],
    )
    def test_name_the_array_that_cannot_be_read(self, small, tmp_path, record, reason):
        path = tmp_path / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", record)
        with pytest.raises(CheckpointError, match=rf"is damaged: its array a\.npy {reason}\. Nothing was") as caught:
            small.create("small", path)
        assert (caught.value.path, caught.value.name) == (path, "a.npy")

    def test_with_a_record_that_is_not_an_array(self, small, tmp_path):
        path = tmp_path / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", b"no array")
        with pytest.raises(CheckpointError, match=r"its record a\.npy is not a \.npy array\.") as caught:
            small.create("small", path)
        assert (caught.value.path, caught.value.name) == (path, "a.npy")

    def test_with_elements_that_fail_their_checksum(self, tmp_path):
        path = tmp_path / "x.npz"
        np.savez(path, a=np.zeros(10_000))  # large: the header is read without its last bytes
        data = bytearray(path.read_bytes())
        data[70_000] ^= 0xFF
        path.write_bytes(data)
        with CheckpointFile(path) as file:
            array = read_index(file).tensors["a"]
            with pytest.raises(CheckpointError, match=r"its record 'a\.npy' could not be read \(Bad CRC-32") as caught:
                array.load()
        assert (caught.value.path, caught.value.name) == (path, "a.npy")
