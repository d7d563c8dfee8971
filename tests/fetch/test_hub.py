"""Files of hub repositories: token, hash, commit, huggingface_hub's cache, shards."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from registry_core import FetchError, HubFile, IntegrityError, Url, Weights
from registry_core.fetch import fetch
from registry_core.fetch.cache import record_of
from registry_core.fetch.contract import AbsentError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MB = 1 << 20


@pytest.fixture
def body(body_of):
    return body_of(2 * MB)


@pytest.fixture
def get(context):
    def get(*filenames, revision="main", repo="org/repo", **changes):
        return fetch(Weights((HubFile(repo, filenames, revision),)), {}, replace(context, **changes))

    return get


@pytest.fixture
def hub(server):
    """Serve a file as the hub does: a redirect that states hash and commit, then the bytes from another address."""

    def hub(name, body, revision="main", **headers):
        digest = hashlib.sha256(body).hexdigest()
        server.add(f"/cdn/{digest}", body)
        stated = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(body)), "X-Repo-Commit": COMMIT, **headers}
        server.add(
            f"/org/repo/resolve/{revision}/{name}", status=[302], headers={"Location": f"/cdn/{digest}", **stated}
        )

    return hub


@pytest.fixture
def hub_w(hub, body):
    """The file `w` at the hub."""
    hub("w", body)


@pytest.fixture
def huggingface_cache(tmp_path, monkeypatch):
    """Put a file into huggingface_hub's cache, in its layout."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def put(name, body):
        repo = tmp_path / "hf" / "hub" / "models--org--repo"
        blob = repo / "blobs" / hashlib.sha256(body).hexdigest()
        link = repo / "snapshots" / COMMIT / name
        for folder in (blob.parent, link.parent, repo / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(body)
        link.symlink_to(blob)
        (repo / "refs" / "main").write_text(COMMIT)
        return link

    return put


class TestDownload:
    def test_is_verified_by_the_linked_etag_and_the_commit_recorded(self, hub, get, body, folder):
        hub("w.safetensors", body)
        found = get("w.safetensors")
        assert found.path == folder / "hub" / "org--repo" / "main" / "w.safetensors"
        assert record_of(found.path).commit == COMMIT
        assert record_of(found.path).source == "hf-hub:org/repo@main/w.safetensors"

    def test_other_bytes_than_the_linked_etag_says(self, hub, get, body, folder, files):
        hub("w", body, **{"X-Linked-Etag": f'"{"ab" * 32}"'})
        with pytest.raises(IntegrityError) as caught:
            get("w")
        assert (caught.value.expected, caught.value.found) == ("ab" * 32, hashlib.sha256(body).hexdigest())
        assert files(folder) == []

    def test_another_length_than_the_linked_size_says(self, hub, get, body, folder, files):
        hub("w", body, **{"X-Linked-Size": "5"})
        with pytest.raises(
            IntegrityError, match=r"repository states a size of 5 bytes, but the server offers 2,097,152\."
        ) as caught:
            get("w")
        assert (caught.value.expected, caught.value.found) == (5, 2 * MB)
        assert files(folder) == []

    def test_resumes_after_an_interruption(self, hub, get, body, server):
        hub("w", body)
        server.pages[f"/cdn/{hashlib.sha256(body).hexdigest()}"].send = [MB, None]
        assert get("w").path.read_bytes() == body
        assert server.ranges()[-1] == f"bytes={MB}-"

    def test_names_are_tried_in_order_and_the_error_names_all(self, hub, get, body):
        hub("second", body)
        assert get("first", "second").path.name == "second"
        with pytest.raises(AbsentError, match=r"(?s)the repository has none of these files\.\n.*/a .*/b ") as caught:
            get("a", "b")
        error = caught.value
        assert (error.name, error.expected, error.status) == ("org/repo", ("a", "b"), 404)
        assert str(error).count("HTTP 404 Not Found: there is no such file") == 2

    def test_a_cached_file_is_preferred_to_an_earlier_name(self, hub, get, body, server):
        hub("second", body)
        get("second")
        before = len(server.requests)
        hub("first", body)
        assert get("first", "second").path.name == "second"
        assert len(server.requests) == before

    def test_files_of_one_revision_belong_to_one_commit_although_the_branch_moves(self, hub, get, body, body_of):
        hub("config", body)
        get("config")
        hub("w", body_of(MB, seed=7))  # main has moved
        hub("w", body_of(MB, seed=8), revision=COMMIT)
        assert get("w").path.read_bytes() == body_of(MB, seed=8)

    def test_revisions_have_separate_folders(self, hub, get, body, body_of, folder):
        other = body_of(MB, seed=5)
        hub("w", body)
        hub("w", other, revision="refs%2Fpr%2F3")
        assert get("w").path.read_bytes() == body
        pinned = get("w", revision="refs/pr/3")
        assert pinned.path == folder / "hub" / "org--repo" / "refs%2Fpr%2F3" / "w"
        assert pinned.path.read_bytes() == other

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("RepoNotFound", r"HTTP 404 Not Found: the repository does not exist or is private\. .*set HF_TOKEN"),
            ("RevisionNotFound", r"HTTP 404 Not Found: the repository has no such revision\. Nothing was kept\.$"),
            ("GatedRepo", r"the repository is gated\. .*Accept its terms on its page, and set HF_TOKEN"),
        ],
    )
    def test_the_hubs_reason_for_a_refusal_is_reported(self, server, get, code, message):
        for name in ("a", "b"):
            server.add(f"/org/repo/resolve/main/{name}", status=[404], headers={"X-Error-Code": code})
        with pytest.raises(FetchError, match=message) as caught:
            get("a", "b")
        assert caught.value.status == 404
        assert len(server.requests) == 1  # no other file of the repository exists either

    def test_the_urls_hash_is_not_the_hub_files(self, hub, server, context, body, body_of):
        hub("w", body)
        weights = Weights((HubFile("org/repo", ("w",)), Url(server.add("/w.pt", body_of(5)), "00000000")))
        assert fetch(weights, {}, context).path.name == "w"

    def test_an_endpoint_may_be_a_mirror(self, server, context, get, body_of):
        server.add("/sub/org/repo/resolve/main/w", body_of(10))
        settings = replace(context.settings, endpoint=f"{server.url}/sub")
        assert get("w", settings=settings).cached

    def test_a_name_that_is_not_a_repository(self, get):
        with pytest.raises(
            FetchError, match=r"'a/b/c' is not a hub repository, expected organisation/name\. Nothing was fetched"
        ) as caught:
            get("w", repo="a/b/c")
        assert (caught.value.found, caught.value.expected) == ("a/b/c", "organisation/name")


@pytest.mark.usefixtures("hub_w")
class TestToken:
    def authorization(self, server):
        return [headers.get("Authorization") for _, headers in server.requests]

    def test_of_the_environment_is_sent_to_the_endpoint(self, get, server, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret\n")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_secret"

    def test_of_a_login_is_used(self, get, server, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        (tmp_path / "token").write_text("hf_file\n")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_file"

    def test_is_not_sent_to_another_host(self, get, server, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        page = server.pages["/org/repo/resolve/main/w"]
        page.headers["Location"] = page.headers["Location"].replace(
            "/cdn", server.url.replace("127.0.0.1", "localhost") + "/cdn"
        )
        get("w")
        assert self.authorization(server) == ["Bearer hf_secret", None]

    def test_is_not_sent_to_a_url(self, server, context, body, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        fetch(Weights((Url(server.add("/w", body)),)), {}, context)
        assert self.authorization(server) == [None]

    def test_is_not_sent_to_a_mirror_of_the_settings(self, get, server, context, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get(
            "w", settings=replace(context.settings, endpoint="https://hub.example", mirrors={"hub.example": server.url})
        )
        assert self.authorization(server) == [None, None]

    def test_is_not_replaced_by_a_netrc(self, get, server, monkeypatch, tmp_path):
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_secret"

    def test_is_shown_in_no_message_and_no_log(self, get, monkeypatch, caplog):
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get("w")
        with pytest.raises(FetchError) as caught:
            get("absent")
        assert "hf_secret" not in str(caught.value)
        assert "hf_secret" not in repr(vars(caught.value))
        assert "Downloading" in caplog.text
        assert "hf_secret" not in caplog.text


class TestHuggingfaceCache:
    def test_is_used_in_place_and_not_mapped(self, huggingface_cache, get, body, server, folder):
        link = huggingface_cache("w", body)
        found = get("w")
        assert (found.path, found.cached) == (link, False)
        assert (server.requests, folder.exists()) == ([], False)

    def test_is_used_at_a_commit(self, huggingface_cache, get, body):
        link = huggingface_cache("w", body)
        assert get("w", revision=COMMIT).path == link

    def test_without_the_file_is_skipped(self, huggingface_cache, hub, get, body):
        huggingface_cache("other", body)
        hub("w", body)
        assert get("w").cached

    def test_with_a_broken_link_is_skipped(self, huggingface_cache, hub, get, body):
        huggingface_cache("w", body).resolve().unlink()
        hub("w", body)
        assert get("w").cached

    def test_is_copied_if_the_folder_is_for_another_machine(self, huggingface_cache, get, body, folder):
        huggingface_cache("w", body)
        found = get("w", reuse_foreign_cache=False)
        assert found.cached
        assert found.path.is_relative_to(folder)
        assert record_of(found.path).commit == COMMIT


class TestShards:
    @pytest.fixture
    def shards(self, hub, tmp_path):
        """A checkpoint in two files. The hub serves the shards under their commit only."""
        weight_map = {}
        for number in (1, 2):
            name = f"model-0000{number}-of-00002.safetensors"
            save_file({f"t{number}": torch.full((4,), float(number))}, tmp_path / name)
            hub(name, (tmp_path / name).read_bytes(), revision=COMMIT)
            weight_map[f"t{number}"] = name
        hub("model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
        return sorted(weight_map.values())

    def test_all_are_downloaded_at_the_commit_of_the_index(self, shards, get, server):
        found = get("model.safetensors.index.json")
        assert sorted(path.name for path in found.path.parent.glob("*.safetensors")) == shards
        before = len(server.requests)
        assert get("model.safetensors.index.json") == found
        assert len(server.requests) == before

    def test_a_lost_shard_is_downloaded_again(self, shards, get):
        found = get("model.safetensors.index.json")
        found.path.with_name(shards[1]).unlink()
        assert get("model.safetensors.index.json") == found
        assert found.path.with_name(shards[1]).exists()

    def test_in_huggingfaces_cache_are_used_together_or_not_at_all(self, huggingface_cache, get):
        index = huggingface_cache("m.index.json", b'{"weight_map": {"a": "one", "b": "two"}}')
        huggingface_cache("one", b"1")
        with pytest.raises(FetchError):
            get("m.index.json")
        huggingface_cache("two", b"2")
        assert get("m.index.json").path == index

    def test_names_outside_the_folder_are_ignored(self, hub, get, folder, files):
        hub("m.index.json", b'{"weight_map": {"a": "../../../../escaped"}}')
        get("m.index.json")  # the index is downloaded; loading it reports the wrong name
        assert files(folder) == ["m.index.json", "m.index.json.record"]
