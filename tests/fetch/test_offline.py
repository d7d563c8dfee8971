"""Offline: local files are used, and errors describe how to get others. In processes that forbid sockets."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from registry_core import FetchError, OfflineError, Registry, Url, Weights, hookimpl

FORBID = """
import sys
def forbid(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"}:
        raise SystemError(f"a socket was used: {event} {arguments}")
sys.addaudithook(forbid)
from pathlib import Path
from registry_core import FetchError, HubFile, OfflineError, Url, Weights, registry
from registry_core.fetch import FetchContext, fetch
"""


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-P", "-c", FORBID + code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("variable", ["REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE"])
class TestOffline:
    def test_a_cached_file_is_used(self, server, context, body_of, variable):
        from registry_core.fetch import fetch

        body = body_of(1000)
        url = server.add("/w.pt", body)
        fetch(Weights((Url(url),)), {}, context)
        code = "print(fetch(Weights((Url(sys.argv[2]),)), {}, FetchContext(Path(sys.argv[1]))).sha256)"
        done = run(code, str(context.folder), url, **{variable: "1"})
        assert done.stdout.strip() == hashlib.sha256(body).hexdigest(), done.stderr

    def test_another_file_fails_immediately_with_advice_and_without_a_socket(self, folder, variable):
        code = (
            "try: registry.create('ViT-B-32', 'openai', cache_dir=sys.argv[1])\n"
            "except OfflineError as error: print(error)\n"
            "print([name for name in ('torch', 'requests') if name in sys.modules])"
        )
        done = run(code, str(folder), **{variable: "True"})
        lines = done.stdout.splitlines()
        assert lines[-1] == "[]", done.stderr
        for word in (
            f", and {variable} forbids the network. No request was sent. On a machine with a network, run `",
            "is not in the cache",
            str(folder),
            "registry-core download ViT-B-32 openai --to",
        ):
            assert word in done.stdout
        assert not folder.exists()


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_the_variable_can_be_switched_off(server, context, body_of, monkeypatch, value):
    from registry_core.fetch import FetchContext, fetch

    monkeypatch.setenv("REGISTRY_CORE_OFFLINE", value)
    fetch(Weights((Url(server.add("/w.pt", body_of(5))),)), {}, FetchContext(context.folder))
    assert len(server.requests) == 1


class Tags:
    """A plugin whose tag `t` of the model `tiny` is at a URL."""

    def __init__(self, url):
        self.url = url

    @hookimpl
    def list_pretrained(self):
        return [("tiny", "t")]

    @hookimpl
    def resolve_pretrained(self, name, tag):
        return Weights((Url(self.url),), "t") if (name, tag) == ("tiny", "t") else None


class TestModels:
    @pytest.fixture
    def tagged(self, registry, server, tiny_checkpoint):
        registry.register(Tags(server.add("/tiny.pt", tiny_checkpoint.read_bytes())), "tags")
        return registry

    def test_a_cached_model_loads_offline_and_is_mapped(self, tagged, monkeypatch, server):
        first = tagged.create("tiny", "t")
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        second = tagged.create("tiny", "t")
        assert len(server.requests) == 1
        assert tagged.report(second).mapped
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name])

    def test_a_damaged_file_is_reported_and_not_used(self, tagged, monkeypatch):
        path = tagged.download("tiny", "t")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        with pytest.raises(OfflineError, match=r"tiny\.pt is damaged in the cache \(") as caught:
            tagged.create("tiny", "t")
        assert (caught.value.variable, caught.value.path) == ("REGISTRY_CORE_OFFLINE", path)
        assert caught.value.url.endswith("/tiny.pt")

    def test_a_damaged_file_is_replaced_online(self, tagged, server):
        path = tagged.download("tiny", "t")
        right = path.read_bytes()
        path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        os.utime(path, (time.time() - 5,) * 2)
        tagged.create("tiny", "t")
        assert path.read_bytes() == right
        assert len(server.requests) == 2

    def test_a_folder_from_another_machine_serves_as_cache(self, tagged, tmp_path, monkeypatch, server):
        carried = tmp_path / "carried"
        path = tagged.download("tiny", "t", to=carried)
        assert path.is_relative_to(carried)
        moved = tmp_path / "elsewhere"
        shutil.copytree(carried, moved, copy_function=shutil.copyfile)  # modification times change: the hash decides
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        tagged.create("tiny", "t", cache_dir=moved)
        assert len(server.requests) == 1

    def test_a_cached_file_is_copied_to_the_folder(self, tagged, tmp_path, server):
        cached = tagged.download("tiny", "t")
        path = tagged.download("tiny", "t", to=tmp_path / "carried")
        assert (path.read_bytes(), path != cached) == (cached.read_bytes(), True)
        assert len(server.requests) == 1

    def test_a_path_is_not_downloaded(self, tagged, tiny_checkpoint):
        assert tagged.download("tiny", str(tiny_checkpoint)) == tiny_checkpoint
        assert isinstance(tagged, Registry)


def test_the_error_is_a_fetch_error():
    assert issubclass(OfflineError, FetchError)
