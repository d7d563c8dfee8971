# ruff: noqa: ARG002 - a fixture may only set the stage
"""Downloads from a real server on the loopback device."""

from __future__ import annotations

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from registry_core import FetchError, HubFile, IntegrityError, LocalFile, Url, Weights
from registry_core.fetch import fetch

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """Answers by path; keeps what was asked, as (path, headers)."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                status, headers, body = outer.answers.get(self.path, (404, {}, b"no"))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def serve(self, path, body=BODY, status=200, **headers):
        self.answers[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return self.url + path


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
    return server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "weights"


def get(folder, *sources):
    return fetch(Weights(sources, "t"), {}, folder)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestUrl:
    def test_is_downloaded_verified_and_recorded(self, server, folder):
        found = get(folder, Url(server.serve("/w.pt"), SHA256[:8]))
        assert found.path.read_bytes() == BODY
        assert (found.cached, found.sha256, found.path.name) == (True, SHA256, "w.pt")

    def test_is_served_from_the_cache_without_a_request(self, server, folder):
        source = Url(server.serve("/w.pt"), SHA256[:8])
        assert get(folder, source) == get(folder, source)
        assert len(server.requests) == 1

    def test_two_files_of_one_name_are_kept_apart(self, server, folder):
        first = get(folder, Url(server.serve("/a/w.pt", b"a")))
        second = get(folder, Url(server.serve("/b/w.pt", b"b")))
        assert (first.path.read_bytes(), second.path.read_bytes()) == (b"a", b"b")

    def test_a_cached_file_of_another_length_is_fetched_again(self, server, folder):
        source = Url(server.serve("/w.pt"))
        get(folder, source).path.write_bytes(b"cut")
        assert get(folder, source).path.read_bytes() == BODY
        assert len(server.requests) == 2

    def test_a_cached_file_of_another_hash_is_fetched_again(self, server, folder):
        get(folder, Url(server.serve("/w.pt", b"old")))
        assert get(folder, Url(server.serve("/w.pt"), SHA256)).path.read_bytes() == BODY


class TestWhatIsNotTheFile:
    def refused(self, folder, source, error, words):
        with pytest.raises(error, match=words):
            get(folder, source)
        assert files(folder) == [], "nothing is left behind"

    def test_other_bytes(self, server, folder):
        words = "other bytes than expected: SHA-256 should start with 00000000, is .*Nothing was kept"
        self.refused(folder, Url(server.serve("/w.pt"), "00000000"), IntegrityError, words)

    def test_a_web_page_in_its_place(self, server, folder):
        url = server.serve("/w.pt", b"<html>please log in</html>", Content_Type="text/html")
        self.refused(folder, Url(url, SHA256), IntegrityError, "other bytes than expected")

    def test_a_body_that_breaks_off(self, server, folder):
        url = server.serve("/w.pt", BODY[:100], Content_Length=str(len(BODY)), Connection="close")
        self.refused(folder, Url(url), FetchError, "(broke off|could not be downloaded).*Nothing was kept")

    def test_404(self, server, folder):
        self.refused(folder, Url(f"{server.url}/absent.pt"), FetchError, r"absent\.pt does not exist \(HTTP 404\)")

    @pytest.mark.parametrize("status", [401, 403, 500, 503])
    def test_other_refusals_of_the_server(self, server, folder, status):
        self.refused(folder, Url(server.serve("/w.pt", b"", status)), FetchError, f"could not be downloaded: {status}")

    def test_nobody_listening(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = "could not be downloaded.*Check the network and its proxies.*give pretrained= its path"
        self.refused(folder, Url(f"http://127.0.0.1:{port}/w.pt"), FetchError, words)

    def test_a_good_file_survives_a_bad_answer(self, server, folder):
        source = Url(server.serve("/w.pt", b"old"))
        path = get(folder, source).path
        with pytest.raises(IntegrityError):
            get(folder, Url(server.serve("/w.pt", b"bad"), SHA256))
        assert path.read_bytes() == b"old"


class TestHubFile:
    def test_comes_from_the_endpoint(self, hub, folder):
        hub.serve("/org/repo/resolve/main/w.safetensors")
        found = get(folder, HubFile("org/repo", ("w.safetensors",)))
        assert found.path.read_bytes() == BODY
        assert get(folder, HubFile("org/repo", ("w.safetensors",))) == found
        assert len(hub.requests) == 1

    def test_has_the_token_where_there_is_one(self, hub, folder, monkeypatch):
        hub.serve("/org/repo/resolve/main/a")
        get(folder, HubFile("org/repo", ("a",)))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub.serve("/org/repo/resolve/main/b")
        get(folder, HubFile("org/repo", ("b",)))
        assert [headers.get("Authorization") for _, headers in hub.requests] == [None, "Bearer hf_secret"]

    def test_the_token_goes_to_no_plain_url(self, server, folder, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        get(folder, Url(server.serve("/w.pt")))
        assert "Authorization" not in server.requests[0][1]

    def test_names_are_tried_in_order(self, hub, folder):
        hub.serve("/org/repo/resolve/v2/second")
        assert get(folder, HubFile("org/repo", ("first", "second"), "v2")).path.name == "second"
        assert [path for path, _ in hub.requests] == [f"/org/repo/resolve/v2/{n}" for n in ("first", "second")]

    def test_no_name_there_is_an_error_that_names_all(self, hub, folder):
        with pytest.raises(FetchError, match=r"(?s)none of the files is there\..*first.*second"):
            get(folder, HubFile("org/repo", ("first", "second")))
        assert files(folder) == []

    def test_is_checked_by_the_linked_etag(self, hub, folder):
        path = "/org/repo/resolve/main/w"
        hub.serve(path, b"", 302, Location=hub.serve("/cdn/w"), X_Linked_Etag=f'"{SHA256}"')
        assert get(folder, HubFile("org/repo", ("w",))).sha256 == SHA256
        hub.serve("/org/repo/resolve/main/x", b"", 302, Location=hub.serve("/cdn/x"), X_Linked_Etag=f'"{"0" * 64}"')
        with pytest.raises(IntegrityError, match=r"other bytes than expected: SHA-256 should start with 0{64}"):
            get(folder, HubFile("org/repo", ("x",)))

    def test_an_etag_that_is_no_sha256_says_nothing(self, hub, folder):
        hub.serve("/org/repo/resolve/main/w", X_Linked_Etag='"abc"')
        assert get(folder, HubFile("org/repo", ("w",))).sha256 == SHA256


class TestOffline:
    @pytest.mark.parametrize("variable", ["REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE"])
    @pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
    def test_opens_no_socket_and_says_what_to_do(self, folder, monkeypatch, variable, value):
        def refuse(*args, **kwargs):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setenv(variable, value)
        for source in (Url("http://127.0.0.1:9/w.pt"), HubFile("org/repo", ("w",))):
            with pytest.raises(
                FetchError, match=rf"not in the cache .*{variable} forbids.*Copy the cache.*pretrained="
            ):
                get(folder, source)

    def test_serves_what_is_in_the_cache(self, server, folder, monkeypatch):
        source = Url(server.serve("/w.pt"))
        get(folder, source)
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
        assert get(folder, source).path.read_bytes() == BODY

    @pytest.mark.parametrize("value", ["", "0", "false", "No"])
    def test_a_no_is_a_no(self, server, folder, monkeypatch, value):
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", value)
        assert get(folder, Url(server.serve("/w.pt"))).cached


class TestLocal:
    def test_a_file_url_is_the_file_itself(self, tmp_path, folder):
        path = tmp_path / "with space.pt"
        path.write_bytes(BODY)
        found = get(folder, Url(path.as_uri()))
        assert (found.path, found.cached) == (path, False)
        assert not folder.exists(), "nothing is copied"

    def test_an_absent_file_is_an_error(self, tmp_path, folder):
        for source in (LocalFile(tmp_path / "no.pt"), Url((tmp_path / "no.pt").as_uri())):
            with pytest.raises(FetchError, match=r"no\.pt does not exist"):
                get(folder, source)

    def test_explain_looks_into_the_file_of_a_file_url(self, registry, tiny_checkpoint):
        from registry_core.explain import _places

        place = _places(Weights((Url(tiny_checkpoint.as_uri()),), "t"))[0]
        assert place.path == str(tiny_checkpoint)
        assert "tensors" in place.state


class TestSeveralSources:
    def test_the_next_one_helps_where_one_fails(self, server, folder):
        found = get(folder, Url(f"{server.url}/gone.pt"), Url(server.serve("/w.pt"), SHA256))
        assert found.sha256 == SHA256

    def test_all_reasons_are_told_where_none_helps(self, server, folder):
        with pytest.raises(
            FetchError, match=r"(?s)weights of tag 't' could not be brought.*a\.pt.*404.*b\.pt.*other bytes"
        ):
            get(folder, Url(f"{server.url}/a.pt"), Url(server.serve("/b.pt"), "00000000"))

    def test_an_unknown_scheme_names_those_there_are(self, folder):
        with pytest.raises(FetchError, match=r"no fetcher for 'gs'; there are .*https"):
            get(folder, Url("gs://bucket/w.pt"))
