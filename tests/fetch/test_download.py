"""Download one file over HTTP: complete, resumed, or refused because it is not the expected file."""

from __future__ import annotations

import hashlib
import logging
import re
import threading

import pytest

from registry_core import FetchError, IntegrityError
from registry_core.fetch.cache import record_of

MB = 1 << 20
COMPLETE = ["w.pt", "w.pt.record"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def replace_at_second_request(server, body, etag):
    """The file on the server changes between the first and the second request."""

    def change(number):
        if number == 2:
            server.pages["/w.pt"].body, server.pages["/w.pt"].etag = body, etag

    server.pages["/w.pt"].before = change


class TestGoodServer:
    def test_the_file_is_downloaded_once_and_has_a_record(self, server, get, body, cache_files):
        url = server.add("/w.pt", body)
        found = get(url)
        assert (found.path.read_bytes(), found.cached, found.sha256) == (body, True, sha256(body))
        assert get(url) == found
        assert len(server.requests) == 1
        assert cache_files() == COMPLETE
        record = record_of(found.path)
        assert (record.size, record.source, record.url) == (len(body), url, url)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.fetched)

    def test_a_body_in_chunks_without_a_length(self, server, get, body, cache_files):
        assert get(server.add("/w.pt", body, chunked=True)).path.read_bytes() == body
        assert cache_files() == COMPLETE

    def test_an_empty_file(self, server, get):
        assert get(server.add("/w.pt", b"")).path.read_bytes() == b""

    def test_the_hash_is_verified(self, server, get, body):
        assert get(server.add("/w.pt", body), sha256(body)[:8]).sha256 == sha256(body)

    def test_other_users_can_read_the_file(self, server, get, body):
        assert get(server.add("/w.pt", body)).path.stat().st_mode & 0o044 == 0o044

    def test_progress_is_reported_in_bytes_and_reaches_the_end(self, server, get, body):
        reports = []
        get(server.add("/w.pt", body), progress=lambda *report: reports.append(report))
        assert reports[-1] == ("w.pt", len(body), len(body))
        assert [received for _, received, _ in reports] == sorted({received for _, received, _ in reports})

    def test_an_exception_of_the_progress_function_ends_it_and_the_next_call_resumes(self, server, get, body):
        url = server.add("/w.pt", body)

        def stop(name, received, total):
            if received >= 2 * MB:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get(url, progress=stop)
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, f"bytes={2 * MB}-"]

    def test_no_progress_bar_if_stderr_is_not_a_terminal(self, server, get, body, capfd):
        get(server.add("/w.pt", body))
        assert capfd.readouterr() == ("", "")

    def test_a_redirect_is_followed_and_the_file_keeps_the_requested_name(self, server, get, body):
        server.add("/there.bin", body)
        url = server.add("/w.pt", status=[302], headers={"Location": "/there.bin"})
        found = get(url)
        assert (found.path.name, found.path.read_bytes()) == ("w.pt", body)

    def test_gzip_although_plain_bytes_were_requested(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, compressed=True)
        assert get(url, sha256(body)).path.read_bytes() == body
        assert server.requests[0][1]["Accept-Encoding"] == "identity"
        assert cache_files() == COMPLETE

    def test_threads_share_one_download(self, server, get, body):
        url = server.add("/w.pt", body, pause=0.02)
        found = []
        threads = [threading.Thread(target=lambda: found.append(get(url))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({one.sha256 for one in found}) == 1
        assert len(found) == 6
        assert len(server.requests) == 1


class TestInterruptions:
    def test_the_rest_is_requested(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, send=[MB, MB // 2, None])
        assert get(url, sha256(body)).path.read_bytes() == body
        assert server.ranges() == [None, f"bytes={MB}-", f"bytes={MB + MB // 2}-"]
        assert server.requests[1][1]["If-Range"] == '"v1"'
        assert server.sent["/w.pt"] == len(body)
        assert cache_files() == COMPLETE

    def test_a_server_that_ignores_range_starts_again(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, send=[MB, None], ranges=False)
        assert get(url, sha256(body)).path.read_bytes() == body
        assert cache_files() == COMPLETE

    def test_without_a_validator_or_hash_pieces_are_not_joined(self, server, get, body):
        url = server.add("/w.pt", body, send=[MB, None], etag=None)
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, None]

    def test_gzip_that_is_interrupted_starts_again(self, server, get, body):
        url = server.add("/w.pt", body, compressed=True, send=[1000, None])
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, None]

    def test_a_date_serves_as_validator(self, server, get, body):
        date = "Wed, 01 Jan 2025 00:00:00 GMT"
        url = server.add(
            "/w.pt", body, send=[MB, None], etag=None, headers={"Last-Modified": date}, ignore_if_range=True
        )
        assert get(url).path.read_bytes() == body
        assert server.requests[1][1]["If-Range"] == date

    def test_a_file_that_changes_between_requests_is_downloaded_in_full(self, server, get, body, body_of):
        url = server.add("/w.pt", body, send=[MB, None])
        new = body_of(3 * MB, seed=2)
        replace_at_second_request(server, new, '"v2"')
        assert get(url).path.read_bytes() == new

    @pytest.mark.parametrize("etag", ['"v2"', '"v1"'])
    def test_a_server_that_continues_with_another_file_is_detected(self, server, get, body, body_of, etag):
        """A wrong hash of a file in two pieces is retried in one piece."""
        url = server.add("/w.pt", body, send=[MB, None], ignore_if_range=True)
        new = body_of(3 * MB, seed=2)
        replace_at_second_request(server, new, etag)
        assert get(url, sha256(new)).path.read_bytes() == new

    def test_416_starts_again(self, server, get, body, body_of):
        url = server.add("/w.pt", body, send=[2 * MB, None], ignore_if_range=True)
        short = body_of(MB, seed=2)
        replace_at_second_request(server, short, '"v1"')
        assert get(url).path.read_bytes() == short
        assert server.ranges() == [None, f"bytes={2 * MB}-", None]

    def test_the_partial_file_is_kept_and_the_next_call_resumes(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, send=[2 * MB, 0])
        with pytest.raises(
            FetchError, match=r"failed: .*\. 2,097,152 bytes were kept, and the next call resumes from them\. Check the"
        ) as caught:
            get(url)
        assert "registry-core download tiny tag --to FOLDER" in caught.value.advice
        assert [name.rpartition(".")[2] for name in cache_files()] == ["note", "part"]
        server.pages["/w.pt"].send = [None]
        assert get(url).path.read_bytes() == body
        assert server.ranges()[-1] == f"bytes={2 * MB}-"
        assert cache_files() == COMPLETE

    def test_a_body_that_stays_short_leaves_nothing(self, server, get, body, cache_files, folder):
        url = server.add("/w.pt", body[:100], send=[10])
        with pytest.raises(FetchError, match=r"the connection was interrupted: .*Nothing was kept") as caught:
            get(url)
        assert (caught.value.url, caught.value.path.parent.parent.parent) == (url, folder / "url")
        assert cache_files() == []
        assert len(server.requests) == 5

    def test_interrupted_chunks_are_detected(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, chunked=True, etag=None, send=[MB])
        with pytest.raises(FetchError) as caught:
            get(url)
        assert caught.value.url == url
        assert cache_files() == []


class TestWrongFiles:
    def test_another_hash(self, server, get, body, cache_files):
        url = server.add("/w.pt", body)
        with pytest.raises(
            IntegrityError,
            match=rf"the file should begin with 00000000, but is {sha256(body)}\. Nothing was kept\. .*proxy",
        ) as caught:
            get(url, "00000000")
        assert (caught.value.expected, caught.value.found) == ("00000000", sha256(body))
        assert (caught.value.url, caught.value.path.name) == (url, "w.pt")
        assert (cache_files(), len(server.requests)) == ([], 1)

    def test_a_length_that_is_too_large(self, server, get, body):
        url = server.add("/w.pt", body, headers={"Content-Length": str(len(body) + 5)})
        with pytest.raises(FetchError) as caught:
            get(url)
        assert caught.value.url == url

    def test_a_length_that_is_too_small(self, server, get, body, cache_files):
        with pytest.raises(IntegrityError) as caught:
            get(server.add("/w.pt", body, headers={"Content-Length": "1000"}), sha256(body))
        assert (caught.value.expected, caught.value.found) == (sha256(body), sha256(body[:1000]))
        assert cache_files() == []


class TestProxy:
    def test_of_the_environment_is_used(self, server, get, body, monkeypatch):
        monkeypatch.setenv("http_proxy", server.url)
        server.add("http://weights.example/w.pt", body)  # a proxy is asked for the whole address
        assert get("http://weights.example/w.pt").path.read_bytes() == body

    def test_no_proxy_is_honoured(self, server, get, body, monkeypatch, free_port):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(server.add("/w.pt", body)).path.read_bytes() == body


class TestLog:
    @pytest.fixture
    def lines(self, caplog):
        """A function that returns the messages of a level."""
        caplog.set_level(logging.DEBUG, logger="registry_core.fetch")
        return lambda level: [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("registry_core.fetch") and record.levelno == level
        ]

    def test_start_retry_resumption_and_end(self, server, get, body, lines):
        url = server.add("/w.pt", body, send=[MB, None])
        path = get(url).path
        start, retry, resumption, end = lines(logging.INFO)
        assert start == f"Downloading {url} to {path}"
        assert re.fullmatch(rf"Retrying {url} in 0\.0 seconds, after failure 1 of 5: the connection was .*", retry)
        assert resumption == f"Resuming {url} at byte {MB} of {3 * MB}"
        assert end == f"Fetched {url}: {3 * MB} bytes at {path}"

    def test_a_cache_hit(self, server, get, body, lines):
        url = server.add("/w.pt", body)
        path = get(url).path
        before = len(lines(logging.INFO))
        get(url)
        assert lines(logging.DEBUG)[-1] == f"Using {url} at {path}"
        assert len(lines(logging.INFO)) == before

    def test_shows_no_password_and_no_query(self, server, get, body, lines):
        url = server.add("/w.pt?signature=s3cret", body, status=[503, 200], send=[MB, None])
        url = url.replace("http://", "http://user:pa55word@")
        get(url)
        get(url)
        text = "\n".join([*lines(logging.INFO), *lines(logging.DEBUG)])
        assert "/w.pt" in text
        assert "Retrying" in text
        assert not [secret for secret in ("user", "pa55word", "signature", "s3cret") if secret in text]
