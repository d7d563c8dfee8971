# ruff: noqa: ARG002 - a fixture may only set the stage
"""The commands download and cache, and what explain says of sources and tags."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from registry_core import HubFile, Url, Weights, hookimpl
from registry_core.cli import main
from registry_core.cli.cache import age_text, size_text
from registry_core.fetch import fetch


@pytest.fixture
def cached(server, context, body_of, monkeypatch):
    """A cache with two files, as REGISTRY_CORE_CACHE; the paths."""
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(context.folder))
    server.add("/org/repo/resolve/main/hub.pt", body_of(2048), headers={"X-Repo-Commit": "ab" * 20})
    sources = Url(server.add("/openai/w.pt", body_of(1000))), HubFile("org/repo", ("hub.pt",))
    return [fetch(Weights((source,)), {}, context).path for source in sources]


@pytest.fixture
def run(capsys):
    def run(*arguments, code=0):
        assert main(arguments) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


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

    def test_list_of_a_folder_that_is_not_there(self, run, tmp_path):
        assert "0 files, 0 bytes" in run("cache", "list", "--cache-dir", str(tmp_path / "no"))

    def test_list_tells_of_unfinished_downloads(self, run, cached):
        cached[0].with_name("w.pt.x.part").write_bytes(bytes(4096))
        assert "4.0 KB of unfinished downloads, which go on" in run("cache", "list")

    def test_verify(self, run, cached, context):
        assert "2 files in" in run("cache", "verify")
        status = cached[0].stat()
        content = bytearray(cached[0].read_bytes())
        content[500] ^= 1
        cached[0].write_bytes(content)
        os.utime(cached[0], ns=(status.st_atime_ns, status.st_mtime_ns))  # only the hash can tell
        message = run("cache", "verify", code=1)
        assert f"1 of 2 files in {context.folder} are not what was downloaded" in message
        assert f"{cached[0].relative_to(context.folder)}: its SHA-256 is" in message
        assert "registry-core cache remove PATTERN" in message
        assert "1 files in" in run("cache", "verify", "hub/*")

    def test_remove(self, run, cached, context):
        assert "1000 bytes freed" in run("cache", "remove", "*openai*")
        assert [path.exists() for path in cached] == [False, True]
        assert "Nothing in" in run("cache", "remove", "*openai*", code=1)
        assert "cache remove needs a pattern such as" in run("cache", "remove", code=1)
        run("cache", "remove", "*")
        assert list(context.folder.iterdir()) == []

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
        assert f"copy {tmp_path / 'usb'} to the other machine, and name it there by REGISTRY_CORE_CACHE" in text
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        run("download", "ViT-B-32", "openai", "--cache-dir", str(tmp_path / "usb"))

    def test_that_fails_says_so(self, run, server, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", f"openaipublic.azureedge.net={server.url}")
        assert "could not be brought here" in run("download", "ViT-B-32", "openai", code=1)


class Tagged:
    """Tags of `tiny` at a hub repository and at a URL."""

    def __init__(self, url):
        self.tags = {
            "a": Weights((HubFile("org/repo", ("hub.pt", "b.pt")),), "a", licence="MIT"),
            "b": Weights((Url(url),), "b"),
        }

    @hookimpl
    def list_pretrained(self):
        return [("tiny", tag) for tag in self.tags]

    @hookimpl
    def resolve_pretrained(self, name, tag):
        return self.tags.get(tag) if name == "tiny" else None


class TestExplain:
    @pytest.fixture
    def tagged(self, registry, monkeypatch):
        registry.register(Tagged("https://weights.example/b.pt"), "tagged")
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", "weights.example=https://mirror.example")
        return registry

    def test_says_of_each_tag_where_it_is_or_would_come_from(self, tagged, cached):
        a, b = tagged.explain("tiny").tags
        assert (a.tag, a.here, a.size, a.address, a.licence) == ("a", True, 2048, str(cached[1]), "MIT")
        assert (b.tag, b.here, b.size, b.address, b.licence) == (
            "b", False, None, "https://mirror.example/b.pt", "unknown",
        )  # fmt: skip
        text = str(tagged.explain("tiny"))
        assert f"a: 2,048 bytes, licence MIT, here {cached[1]}" in text
        assert "b: size unknown, licence unknown, would come from https://mirror.example/b.pt" in text

    def test_says_of_a_tag_what_its_sources_are(self, tagged, cached):
        found = tagged.explain("tiny", "a")
        assert (found.licence, found.places[0].state) == ("MIT", "in the cache, 2,048 bytes")
        missing = tagged.explain("tiny", "b")
        assert missing.places[0].state == "not here yet"
        assert "would come from https://mirror.example/b.pt" in str(missing)
        assert missing.licence == "unknown"


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
