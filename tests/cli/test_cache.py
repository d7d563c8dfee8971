# ruff: noqa: ARG002 - a fixture may only set the stage
"""The commands about downloaded files: download and cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from registry_core import FetchError, HubFile, IntegrityError, Url, Weights
from registry_core.cli import _parser, main
from registry_core.cli.cache import _cache, age_text, size_text
from registry_core.fetch import fetch

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def cached(server, context, body_of, monkeypatch):
    """A cache with two files, as REGISTRY_CORE_CACHE; the paths."""
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(context.folder))
    server.add("/org/repo/resolve/main/hub.pt", body_of(2048), headers={"X-Repo-Commit": "ab" * 20})
    sources = Url(server.add("/openai/w.pt", body_of(1000))), HubFile("org/repo", ("hub.pt",))
    return [fetch(Weights((source,)), {}, context).path for source in sources]


@pytest.fixture
def run(capsys):
    """run("cache", "list") -> what a command that succeeds prints."""

    def run(*arguments):
        assert main(arguments) == 0
        return capsys.readouterr().out

    return run


def error_of(error, *arguments):
    """The error that an action of `cache` raises."""
    with pytest.raises(error) as caught:
        _cache(None, _parser().parse_args(["cache", *arguments]))
    return caught.value


class TestCache:
    def test_path(self, run, context, cached):
        assert run("cache", "path").strip() == str(context.folder)
        assert json.loads(run("cache", "path", "--json")) == {"path": str(context.folder)}
        assert run("cache", "path", "--cache-dir", "/elsewhere").strip() == "/elsewhere"

    def test_list(self, run, cached, context, server):
        text = run("cache", "list")
        for word in ("hub/org--repo/main/hub.pt", "2.0 KB", "1000 bytes", "just now", "hf-hub:org/repo@main/hub.pt"):
            assert word in text
        assert f"2 files, 3.0 KB, in {context.folder}" in text
        data = json.loads(run("cache", "list", "--json", "*OPENAI*"))
        assert [(entry["size"], entry["source"]) for entry in data["files"]] == [(1000, f"{server.url}/openai/w.pt")]

    def test_list_of_a_folder_that_does_not_exist(self, run, tmp_path):
        assert "0 files, 0 bytes" in run("cache", "list", "--cache-dir", str(tmp_path / "no"))

    def test_list_reports_interrupted_downloads(self, run, cached):
        part = cached[0].with_name("w.pt.x.part")
        part.write_bytes(bytes(4096))
        assert "4.0 KB of interrupted downloads, which resume" in run("cache", "list")
        assert json.loads(run("cache", "list", "--json"))["unfinished"] == [str(part)]

    def test_verify(self, run, cached, context):
        assert "2 files in" in run("cache", "verify")
        status = cached[0].stat()
        content = bytearray(cached[0].read_bytes())
        content[500] ^= 1
        cached[0].write_bytes(content)
        os.utime(cached[0], ns=(status.st_atime_ns, status.st_mtime_ns))  # only the hash can tell
        error = error_of(IntegrityError, "verify")
        assert error.path == context.folder
        assert f"1 of 2 files in {context.folder} are not what was downloaded" in str(error)
        assert f"{cached[0].relative_to(context.folder)}: its SHA-256 is" in str(error)
        assert str(error).endswith(f"Nothing was removed. {error.advice}")
        assert "registry-core cache remove PATTERN" in error.advice
        assert "1 files in" in run("cache", "verify", "hub/*")

    def test_remove(self, run, cached, context):
        assert "1000 bytes freed" in run("cache", "remove", "*openai*")
        assert [path.exists() for path in cached] == [False, True]
        run("cache", "remove", "*")
        assert list(context.folder.iterdir()) == []

    def test_remove_needs_something_to_remove(self, cached, context):
        error = error_of(FetchError, "remove", "*nowhere*", "hub/no*")
        assert (error.argument, error.path) == ("pattern", context.folder)
        assert f"Nothing in {context.folder} matches *nowhere* hub/no*. Nothing was removed." in str(error)
        assert error_of(FetchError, "remove", "--unfinished").argument == "--unfinished"
        assert str(error_of(FetchError, "remove")).startswith("cache remove needs a pattern such as '*openai*', or '*'")
        assert all(path.exists() for path in cached)

    def test_remove_reports_a_file_that_cannot_be_removed(self, cached, monkeypatch):
        def remove(path, folder):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("registry_core.cli.cache.remove", remove)
        error = error_of(FetchError, "remove", "*openai*")
        assert error.path == cached[0]
        assert str(error) == f"{cached[0]} could not be removed: Permission denied."

    def test_remove_unfinished(self, run, cached):
        part = cached[0].with_name("w.pt.x.part")
        part.write_bytes(b"123")
        run("cache", "remove", "--unfinished")
        assert [path.exists() for path in (part, *cached)] == [False, True, True]


def test_the_cache_is_managed_without_torch_or_network_libraries(cached):
    code = "import sys; from registry_core.cli import main; main(['cache', 'list', '--json'])\n"
    code += "assert not {'torch', 'requests', 'tqdm', 'filelock'} & set(sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)


class TestDownload:
    @pytest.fixture
    def mirrored(self, server, tiny_checkpoint, monkeypatch):
        """The tag openai of ViT-B-32, with another file at a mirror of the hub."""
        name = "timm/vit_base_patch32_clip_224.openai/resolve/main/open_clip_model.safetensors"
        server.add(f"/{name}", tiny_checkpoint.read_bytes())
        monkeypatch.setenv("HF_ENDPOINT", server.url)

    def test_into_the_cache(self, run, mirrored):
        data = json.loads(run("download", "ViT-B-32", "openai", "--json"))
        assert data["path"].endswith("/hub/timm--vit_base_patch32_clip_224.openai/main/open_clip_model.safetensors")
        assert os.environ["REGISTRY_CORE_CACHE"] in data["path"]

    def test_into_a_folder_to_carry(self, run, mirrored, tmp_path, monkeypatch):
        text = run("download", "ViT-B-32", "openai", "--to", str(tmp_path / "usb"))
        assert f"copy {tmp_path / 'usb'} to the other machine, and set REGISTRY_CORE_CACHE to it there" in text
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        run("download", "ViT-B-32", "openai", "--cache-dir", str(tmp_path / "usb"))

    def test_that_fails_has_exit_status_1(self, capsys, server, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", f"openaipublic.azureedge.net={server.url}")
        assert main(["download", "ViT-B-32", "openai"]) == 1
        err = capsys.readouterr().err
        assert err.startswith("registry-core: ")
        assert "ViT-B-32" in err
        assert server.url in err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KB"), (605 << 20, "605.0 MB"), (5 << 50, "5120.0 TB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(hours=5), "5 hours"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_ages(age, text):
    assert age_text((datetime.now(UTC) - age).isoformat()) == text
    assert age_text("yesterday") == "unknown"
