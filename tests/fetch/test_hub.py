"""Files of hub repositories: token, hash, commit, huggingface_hub's cache, shards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from registry_core import FetchError, HubFile, IntegrityError, Url, Weights
from registry_core.cache import record_of
from registry_core.fetch import fetch
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
    """Serve a file as the hub does: a redirect that says hash and commit, then the bytes from elsewhere."""

    def hub(name, body, revision="main", **headers):
        digest = hashlib.sha256(body).hexdigest()
        server.add(f"/cdn/{digest}", body)
        said = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(body)), "X-Repo-Commit": COMMIT, **headers}
        server.add(f"/org/repo/resolve/{revision}/{name}", status=[302], headers={"Location": f"/cdn/{digest}", **said})

    return hub


@pytest.fixture
def hub_w(hub, body):
    """The file `w` at the hub."""
    hub("w", body)


@pytest.fixture
def their_cache(tmp_path, monkeypatch):
    """A file in huggingface_hub's cache, laid out as it does."""
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
        with pytest.raises(IntegrityError, match="should begin with abab"):
            get("w")
        assert files(folder) == []

    def test_another_length_than_the_linked_size_says(self, hub, get, body, folder, files):
        hub("w", body, **{"X-Linked-Size": "5"})
        with pytest.raises(IntegrityError, match=r"is 5 bytes long by its repository, and the server offers 2,097,152"):
            get("w")
        assert files(folder) == []

    def test_goes_on_after_a_break(self, hub, get, body, server):
        hub("w", body)
        server.pages[f"/cdn/{hashlib.sha256(body).hexdigest()}"].send = [MB, None]
        assert get("w").path.read_bytes() == body
        assert server.ranges()[-1] == f"bytes={MB}-"

    def test_names_are_tried_in_order_and_absence_names_all(self, hub, get, body):
        hub("second", body)
        assert get("first", "second").path.name == "second"
        with pytest.raises(AbsentError, match=r"(?s)none of these files.*/a .*404.*/b .*404") as caught:
            get("a", "b")
        assert str(caught.value).count("There is no such file") == 2

    def test_what_is_here_goes_before_what_would_be_tried_first(self, hub, get, body, server):
        hub("second", body)
        get("second")
        asked = len(server.requests)
        hub("first", body)
        assert get("first", "second").path.name == "second"
        assert len(server.requests) == asked

    def test_files_of_one_revision_are_of_one_commit_though_the_branch_moves(self, hub, get, body, body_of):
        hub("config", body)
        get("config")
        hub("w", body_of(MB, seed=7))  # main has moved
        hub("w", body_of(MB, seed=8), revision=COMMIT)
        assert get("w").path.read_bytes() == body_of(MB, seed=8)

    def test_revisions_are_kept_apart(self, hub, get, body, body_of, folder):
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
            ("RepoNotFound", "no such repository, or it is private"),
            ("RevisionNotFound", "no such revision"),
            ("GatedRepo", "gated: accept its terms on its page, and set HF_TOKEN"),
        ],
    )
    def test_the_hubs_own_word_about_a_refusal_is_passed_on(self, server, get, code, message):
        for name in ("a", "b"):
            server.add(f"/org/repo/resolve/main/{name}", status=[404], headers={"X-Error-Code": code})
        with pytest.raises(FetchError, match=message):
            get("a", "b")
        assert len(server.requests) == 1  # no other file is there either

    def test_the_url_is_asked_where_the_hub_has_nothing(self, server, context, body):
        weights = Weights(
            (HubFile("org/repo", ("w",)), Url(server.add("/w.pt", body), hashlib.sha256(body).hexdigest()))
        )
        assert fetch(weights, {}, context).path.name == "w.pt"

    def test_the_urls_hash_is_not_the_hub_files(self, hub, server, context, body, body_of):
        hub("w", body)
        weights = Weights((HubFile("org/repo", ("w",)), Url(server.add("/w.pt", body_of(5)), "00000000")))
        assert fetch(weights, {}, context).path.name == "w"

    def test_all_reasons_are_said_where_none_helps(self, server, context):
        weights = Weights((HubFile("org/repo", ("w",)), Url(server.url + "/w.pt")), "openai")
        with pytest.raises(AbsentError, match=r"(?s)tag 'openai' could not be brought here:.*resolve/main/w.*w\.pt"):
            fetch(weights, {}, context)


@pytest.mark.usefixtures("hub_w")
class TestToken:
    def authorization(self, server):
        return [headers.get("Authorization") for _, headers in server.requests]

    def test_of_the_environment_goes_to_the_endpoint(self, get, server, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret\n")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_secret"

    def test_of_a_login_is_used(self, get, server, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        (tmp_path / "token").write_text("hf_file\n")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_file"

    def test_goes_to_no_other_host(self, get, server, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        page = server.pages["/org/repo/resolve/main/w"]
        page.headers["Location"] = page.headers["Location"].replace(
            "/cdn", server.url.replace("127.0.0.1", "localhost") + "/cdn"
        )
        get("w")
        assert self.authorization(server) == ["Bearer hf_secret", None]

    def test_goes_to_no_url(self, server, context, body, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        fetch(Weights((Url(server.add("/w", body)),)), {}, context)
        assert self.authorization(server) == [None]

    def test_goes_to_no_mirror_of_the_table(self, get, server, context, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get(
            "w", settings=replace(context.settings, endpoint="https://hub.example", mirrors={"hub.example": server.url})
        )
        assert self.authorization(server) == [None, None]

    def test_is_not_overruled_by_a_netrc(self, get, server, monkeypatch, tmp_path):
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get("w")
        assert self.authorization(server)[0] == "Bearer hf_secret"

    def test_is_shown_in_no_message(self, get, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        with pytest.raises(FetchError) as caught:
            get("absent")
        assert "hf_secret" not in str(caught.value)


class TestTheirCache:
    def test_is_read_and_not_mapped(self, their_cache, get, body, server, folder):
        link = their_cache("w", body)
        found = get("w")
        assert (found.path, found.cached) == (link, False)
        assert (server.requests, folder.exists()) == ([], False)

    def test_is_read_at_a_commit(self, their_cache, get, body):
        link = their_cache("w", body)
        assert get("w", revision=COMMIT).path == link

    def test_without_the_file_is_passed_over(self, their_cache, hub, get, body):
        their_cache("other", body)
        hub("w", body)
        assert get("w").cached

    def test_with_a_broken_link_is_passed_over(self, their_cache, hub, get, body):
        their_cache("w", body).resolve().unlink()
        hub("w", body)
        assert get("w").cached

    def test_is_copied_from_where_a_folder_is_to_be_carried(self, their_cache, get, body, folder):
        their_cache("w", body)
        found = get("w", borrow=False)
        assert found.cached
        assert found.path.is_relative_to(folder)
        assert record_of(found.path).commit == COMMIT


class TestShards:
    @pytest.fixture
    def shards(self, hub, tmp_path):
        """A checkpoint in two files, at the hub by its commit alone."""
        weight_map = {}
        for number in (1, 2):
            name = f"model-0000{number}-of-00002.safetensors"
            save_file({f"t{number}": torch.full((4,), float(number))}, tmp_path / name)
            hub(name, (tmp_path / name).read_bytes(), revision=COMMIT)
            weight_map[f"t{number}"] = name
        hub("model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
        return sorted(weight_map.values())

    def test_all_come_at_the_commit_of_the_index(self, shards, get, server):
        found = get("model.safetensors.index.json")
        assert sorted(path.name for path in found.path.parent.glob("*.safetensors")) == shards
        asked = len(server.requests)
        assert get("model.safetensors.index.json") == found
        assert len(server.requests) == asked

    def test_one_that_is_lost_is_fetched_again(self, shards, get):
        found = get("model.safetensors.index.json")
        found.path.with_name(shards[1]).unlink()
        assert get("model.safetensors.index.json") == found
        assert found.path.with_name(shards[1]).exists()

    def test_of_their_cache_are_used_together_or_not_at_all(self, their_cache, get):
        index = their_cache("m.index.json", b'{"weight_map": {"a": "one", "b": "two"}}')
        their_cache("one", b"1")
        with pytest.raises(FetchError):
            get("m.index.json")
        their_cache("two", b"2")
        assert get("m.index.json").path == index

    def test_names_that_lead_elsewhere_are_refused(self, hub, get, folder, files):
        hub("m.index.json", b'{"weight_map": {"a": "../../../../escaped"}}')
        get("m.index.json")  # the index is there; what it names is said to be wrong where it is loaded
        assert files(folder) == ["m.index.json", "m.index.json.record"]
