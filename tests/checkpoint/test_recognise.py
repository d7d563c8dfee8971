"""Files are told apart by content, and each that is no checkpoint is named with what to do about it."""

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

import pytest
import torch

from registry_core import CheckpointError, UnsafeCheckpointError
from registry_core.checkpoint.file import CheckpointFile

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


def empty(path):
    path.touch()


def hdf5(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
        archive.writestr("readme.txt", "weights inside")


def text(path):
    path.write_bytes(b"these are no weights, only words")


NOT_CHECKPOINTS = {
    html: r"is an HTML page, not weights\. .*needed a login.*fetch the file itself\. Nothing was loaded",
    xml: "is an HTML page, not weights",
    lfs: r"is a Git LFS pointer, not the file it points to\. Run `git lfs pull`",
    json_text: r"is JSON text, not weights\. A config is added by registry\.add_config",
    gzipped: r"is gzip data\. Unpack it with gunzip",
    tar: r"is a tar archive\. Unpack it and name the checkpoint inside",
    empty: r"is an empty file\. An interrupted download leaves one; fetch it again",
    hdf5: r"is an HDF5 file, as Keras writes them\. Convert its tensors to \.safetensors",
    other_zip: r"is a zip archive but no torch checkpoint: it has no single `<name>/data\.pkl`\. It holds "
    r"word/document\.xml, readme\.txt\. Nothing was loaded; unpack it, or convert it to \.safetensors",
    text: r"is no checkpoint that is known here: it starts with b'these are no wei'\. Expected safetensors, a file of",
}


class TestOtherFilesAreNamed:
    @pytest.mark.parametrize("make", NOT_CHECKPOINTS, ids=lambda make: make.__name__)
    def test_with_the_path_and_what_to_do(self, small, tmp_path, make):
        path = tmp_path / "weights.safetensors"
        make(path)
        with pytest.raises(CheckpointError, match=NOT_CHECKPOINTS[make]) as caught:
            small.create("small", path)
        assert str(path) in str(caught.value)
        assert "Nothing was loaded" in str(caught.value)

    def test_a_zip_with_two_checkpoints(self, small, tmp_path):
        path = tmp_path / "two.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for root in ("a", "b"):
                archive.writestr(f"{root}/data.pkl", pickle.dumps({}, 2))
        with pytest.raises(CheckpointError, match=r"no single `<name>/data\.pkl`.*a/data\.pkl, b/data\.pkl"):
            small.create("small", path)

    def test_a_folder_says_what_it_holds(self, small, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        with pytest.raises(CheckpointError, match=r"is a folder, expected a checkpoint file\. It is empty\."):
            small.create("small", folder)
        (folder / "model.pt").touch()
        with pytest.raises(CheckpointError, match=r"It holds model\.pt\. Name the file itself"):
            small.create("small", folder)

    def test_a_pipe_is_refused_without_waiting_for_a_writer(self, small, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match=r"pipe is no regular file\. Copy what it gives into a file"):
            small.create("small", tmp_path / "pipe")


class TestUnreadable:
    def test_vanished_after_it_was_found(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError, match=r"could not be opened: Not a directory\. Check the path and its"):
            CheckpointFile(tmp_path / "file" / "below")
        with pytest.raises(CheckpointError, match=r"could not be opened: No such file or directory"):
            CheckpointFile(tmp_path / "gone.pt")

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become somebody else")
    @pytest.mark.parametrize("folder", [False, True])
    def test_permission_denied(self, write, folder):
        with tempfile.TemporaryDirectory() as opened:  # pytest's own folders are closed to others
            Path(opened).chmod(0o755)
            target = write("torch").rename(Path(opened) / "private.pt")
            if folder:
                target = Path(opened) / "private"
                target.mkdir()
            target.chmod(0o711 if folder else 0o600)
            os.seteuid(65534)
            try:
                with pytest.raises(CheckpointError, match=r"could not be opened: Permission denied\. Check the path"):
                    CheckpointFile(target)
            finally:
                os.seteuid(0)


class TestBarePickles:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_are_refused_unread(self, small, tmp_path, protocol):
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps({"weight": [1.0]}, protocol))
        with pytest.raises(UnsafeCheckpointError, match=r"a bare pickle, not written by torch\.save\. Reading"):
            small.create("small", path)
