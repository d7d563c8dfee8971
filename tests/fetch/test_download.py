"""One file over HTTP: what a server may do wrong, and what becomes of it."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import replace

import pytest

from registry_core import FetchError, IntegrityError, Url, Weights
from registry_core.cache import record_of
from registry_core.fetch import Settings, fetch
from registry_core.fetch.contract import AbsentError

MB = 1 << 20


@pytest.fixture
def body(body_of):
    return body_of(3 * MB)


@pytest.fixture
def get(context):
    """Fetch a URL."""

    def get(url, sha256_prefix="", **changes):
        return fetch(Weights((Url(url, sha256_prefix),)), {}, replace(context, **changes))

    return get


@pytest.fixture
def left(folder, files):
    """What lies in the cache."""
    return lambda: files(folder)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class TestGoodServer:
    def test_the_file_comes_once_with_a_record_and_nothing_else(self, server, get, body, left):
        url = server.add("/w.pt", body)
        found = get(url)
        assert (found.path.read_bytes(), found.cached, found.sha256) == (body, True, sha256(body))
        assert get(url) == found
        assert len(server.requests) == 1
        assert left() == ["w.pt", "w.pt.record"]
        record = record_of(found.path)
        assert (record.size, record.source, record.url) == (len(body), url, url)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.fetched)

    def test_its_place_can_be_read(self, server, get, body, folder):
        place = get(server.add("/some/path/w.pt", body)).path.relative_to(folder)
        assert re.fullmatch(r"url/127\.0\.0\.1_\d+/[0-9a-f]{16}/w\.pt", place.as_posix())

    def test_a_body_in_chunks_without_a_length(self, server, get, body, left):
        assert get(server.add("/w.pt", body, chunked=True)).path.read_bytes() == body
        assert left() == ["w.pt", "w.pt.record"]

    def test_an_empty_file(self, server, get):
        assert get(server.add("/w.pt", b"")).path.read_bytes() == b""

    def test_a_hash_is_checked(self, server, get, body):
        assert get(server.add("/w.pt", body), sha256(body)[:8]).sha256 == sha256(body)

    def test_the_file_can_be_read_by_others(self, server, get, body):
        assert get(server.add("/w.pt", body)).path.stat().st_mode & 0o044 == 0o044

    def test_progress_is_told_in_bytes_and_reaches_the_end(self, server, get, body):
        told = []
        get(server.add("/w.pt", body), progress=lambda *state: told.append(state))
        assert told[-1] == ("w.pt", len(body), len(body))
        assert [here for _, here, _ in told] == sorted({here for _, here, _ in told})

    def test_an_exception_of_the_progress_function_ends_it_and_the_next_call_goes_on(self, server, get, body):
        url = server.add("/w.pt", body)

        def stop(name, here, total):
            if here >= 2 * MB:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get(url, progress=stop)
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, f"bytes={2 * MB}-"]

    def test_no_bar_is_drawn_where_stderr_is_no_terminal(self, server, get, body, capfd):
        get(server.add("/w.pt", body))
        assert capfd.readouterr() == ("", "")


class TestBreaks:
    def test_the_rest_is_asked_for(self, server, get, body, left):
        url = server.add("/w.pt", body, send=[MB, MB // 2, None])
        assert get(url, sha256(body)).path.read_bytes() == body
        assert server.ranges() == [None, f"bytes={MB}-", f"bytes={MB + MB // 2}-"]
        assert server.requests[1][1]["If-Range"] == '"v1"'
        assert server.sent["/w.pt"] == len(body)
        assert left() == ["w.pt", "w.pt.record"]

    def test_a_server_that_ignores_range_begins_anew(self, server, get, body, left):
        url = server.add("/w.pt", body, send=[MB, None], ranges=False)
        assert get(url, sha256(body)).path.read_bytes() == body
        assert left() == ["w.pt", "w.pt.record"]

    def test_without_a_validator_or_hash_nothing_is_glued_together(self, server, get, body):
        url = server.add("/w.pt", body, send=[MB, None], etag=None)
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, None]

    def test_a_date_serves_as_validator(self, server, get, body):
        date = "Wed, 01 Jan 2025 00:00:00 GMT"
        url = server.add(
            "/w.pt", body, send=[MB, None], etag=None, headers={"Last-Modified": date}, ignore_if_range=True
        )
        assert get(url).path.read_bytes() == body
        assert server.requests[1][1]["If-Range"] == date

    def test_a_file_that_changes_between_requests_is_taken_whole(self, server, get, body, body_of):
        url = server.add("/w.pt", body, send=[MB, None])
        new = body_of(3 * MB, seed=2)

        def change(number):
            if number == 2:
                server.pages["/w.pt"].body, server.pages["/w.pt"].etag = new, '"v2"'

        server.pages["/w.pt"].before = change
        assert get(url).path.read_bytes() == new

    @pytest.mark.parametrize("etag", ['"v2"', '"v1"'])
    def test_a_server_that_continues_with_another_file_is_found_out(self, server, get, body, body_of, etag):
        url = server.add("/w.pt", body, send=[MB, None], ignore_if_range=True)
        new = body_of(3 * MB, seed=2)

        def change(number):
            if number == 2:
                server.pages["/w.pt"].body, server.pages["/w.pt"].etag = new, etag

        server.pages["/w.pt"].before = change
        assert get(url, sha256(new)).path.read_bytes() == new

    def test_416_begins_anew(self, server, get, body, body_of):
        url = server.add("/w.pt", body, send=[2 * MB, None], ignore_if_range=True)
        short = body_of(MB, seed=2)

        def change(number):
            if number == 2:
                server.pages["/w.pt"].body = short

        server.pages["/w.pt"].before = change
        assert get(url).path.read_bytes() == short
        assert server.ranges() == [None, f"bytes={2 * MB}-", None]

    def test_what_comes_is_kept_when_it_breaks_for_good_and_gone_on_from(self, server, get, body, left):
        url = server.add("/w.pt", body, send=[2 * MB, 0])
        with pytest.raises(
            FetchError, match=r"w\.pt broke off: .*2,097,152 bytes were kept, and the next call goes on from there"
        ) as caught:
            get(url)
        assert "registry-core download tiny tag --to FOLDER" in str(caught.value)
        assert [name.rpartition(".")[2] for name in left()] == ["note", "part"]
        server.pages["/w.pt"].send = [None]
        assert get(url).path.read_bytes() == body
        assert server.ranges()[-1] == f"bytes={2 * MB}-"
        assert left() == ["w.pt", "w.pt.record"]

    def test_a_body_that_stays_short_leaves_nothing(self, server, get, body, left):
        with pytest.raises(FetchError, match=r"broke off: .*Nothing was kept"):
            get(server.add("/w.pt", body[:100], send=[10]))
        assert left() == []
        assert len(server.requests) == 5

    def test_chunks_that_break_off_are_seen(self, server, get, body, left):
        with pytest.raises(FetchError, match=r"broke off: .*Nothing was kept"):
            get(server.add("/w.pt", body, chunked=True, etag=None, send=[MB]))
        assert left() == []

    def test_a_slow_but_steady_server_may_break_more_often_than_a_bad_one(self, server, get, body_of, context):
        body = body_of(12 * MB)
        url = server.add("/w.pt", body, send=[MB])
        assert get(url, settings=replace(context.settings, attempts=2)).path.read_bytes() == body
        assert len(server.requests) == 12

    def test_a_server_that_never_gets_further_is_given_up(self, server, get, body):
        url = server.add("/w.pt", body, send=[2 * MB], ranges=False)
        with pytest.raises(FetchError, match="broke off"):
            get(url)
        assert len(server.requests) <= 6


class TestRefusals:
    @pytest.mark.parametrize(
        "refusal",
        [
            (401, FetchError, r"HTTP 401 Unauthorized\. Nothing was kept\. The server wants a login.*HF_TOKEN"),
            (403, FetchError, r"HTTP 403 Forbidden.*The server refuses"),
            (404, AbsentError, r"HTTP 404 Not Found.*There is no such file"),
            (407, FetchError, r"HTTP 407 .*The proxy wants a login: HTTPS_PROXY=http://user:password@host"),
            (410, AbsentError, r"HTTP 410 Gone.*The file is gone"),
            (451, FetchError, r"HTTP 451 .*for legal reasons"),
            (400, FetchError, r"HTTP 400 Bad Request.*no answer with a file; check the address"),
            (204, FetchError, r"HTTP 204 No Content.*no answer with a file"),
        ],
    )
    def test_are_said_at_once_and_leave_nothing(self, server, get, left, refusal):
        status, kind, message = refusal
        with pytest.raises(kind, match=message):
            get(server.add("/w.pt", b"x", status=[status]))
        assert len(server.requests) == 1
        assert left() == []

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_that_may_pass_are_asked_again(self, server, get, body, status):
        assert get(server.add("/w.pt", body, status=[status, status, 200])).path.read_bytes() == body
        assert len(server.requests) == 3

    def test_that_do_not_pass_are_given_up(self, server, get, left):
        with pytest.raises(
            FetchError, match=r"HTTP 503 Service Unavailable.*overloaded or out of order; try again later"
        ):
            get(server.add("/w.pt", status=[503]))
        assert len(server.requests) == 5
        assert left() == []

    def test_the_servers_own_wait_is_kept(self, server, get, body):
        url = server.add("/w.pt", body, status=[429, 200], headers={"Retry-After": "1"})
        started = time.monotonic()
        get(url)
        assert 0.95 <= time.monotonic() - started < 3

    def test_a_long_wait_is_left_to_the_caller(self, server, get):
        url = server.add("/w.pt", status=[429], headers={"Retry-After": "3600"})
        with pytest.raises(FetchError, match=r"HTTP 429 .*asks to wait 3,600 seconds; try again after that"):
            get(url)
        assert len(server.requests) == 1

    def test_a_416_without_end(self, server, get, left):
        with pytest.raises(FetchError, match=r"HTTP 416 .*cannot continue the file"):
            get(server.add("/w.pt", status=[416]))
        assert left() == []


class TestWrongFiles:
    def test_an_html_page_with_status_200(self, server, get, left):
        page = b"\n <!DOCTYPE html><html><body>Log in</body></html>"
        with pytest.raises(
            IntegrityError, match=r"HTML page instead of the file\. Nothing was kept\. .*open the address"
        ):
            get(server.add("/w.pt", page))
        assert (left(), len(server.requests)) == ([], 1)

    def test_a_page_that_says_that_it_is_one(self, server, get):
        with pytest.raises(IntegrityError, match="HTML page"):
            get(server.add("/w.pt", b"<script>", headers={"Content-Type": "text/html; charset=utf-8"}))

    def test_weights_that_are_called_html_are_taken(self, server, get, body):
        url = server.add("/w.pt", body, headers={"Content-Type": "text/html"})
        assert get(url).path.read_bytes() == body

    def test_another_hash(self, server, get, body, left):
        with pytest.raises(
            IntegrityError, match=rf"SHA-256 should begin with 00000000, is {sha256(body)}\. Nothing was kept\. .*proxy"
        ):
            get(server.add("/w.pt", body), "00000000")
        assert (left(), len(server.requests)) == ([], 1)

    def test_a_redirect_loop(self, server, get, left):
        url = server.add("/w.pt", status=[302], headers={"Location": "/w.pt"})
        with pytest.raises(FetchError, match=r"redirects in a circle\. Nothing was kept"):
            get(url)
        assert left() == []

    def test_a_redirect_is_followed_and_the_record_says_what_was_asked_for(self, server, get, body):
        server.add("/there.bin", body)
        url = server.add("/w.pt", status=[302], headers={"Location": "/there.bin"})
        found = get(url)
        assert (found.path.name, found.path.read_bytes()) == ("w.pt", body)

    def test_gzip_although_plain_bytes_were_asked_for(self, server, get, body, left):
        url = server.add("/w.pt", body, compressed=True)
        assert get(url, sha256(body)).path.read_bytes() == body
        assert server.requests[0][1]["Accept-Encoding"] == "identity"
        assert left() == ["w.pt", "w.pt.record"]

    def test_gzip_that_breaks_off_is_taken_anew(self, server, get, body):
        url = server.add("/w.pt", body, compressed=True, send=[1000, None])
        assert get(url).path.read_bytes() == body
        assert server.ranges() == [None, None]

    def test_neither_length_nor_hash(self, server, get, body, left):
        url = server.add("/w.pt", body, lengthless=True)
        with pytest.raises(FetchError, match=r"without a length, and its SHA-256 is not known.*by hand"):
            get(url)
        assert left() == []
        assert get(url, sha256(body)).path.read_bytes() == body

    def test_a_wrong_length(self, server, get, body, left):
        url = server.add("/long.pt", body, headers={"Content-Length": str(len(body) + 5)})
        with pytest.raises(FetchError, match=r"long\.pt broke off"):
            get(url)
        url = server.add("/short.pt", body, headers={"Content-Length": "1000"})
        with pytest.raises(IntegrityError, match="other bytes than expected"):
            get(url, sha256(body))
        assert [name for name in left() if name.startswith("short")] == []


class TestNoAnswer:
    def test_a_refused_connection_is_said_at_once(self, get, free_port, left):
        started = time.monotonic()
        with pytest.raises(FetchError, match=r"could not be reached: .*[Rr]efused.*Check the network.*--to FOLDER"):
            get(f"http://127.0.0.1:{free_port}/w.pt", settings=Settings())
        assert time.monotonic() - started < 5  # the waits between five attempts would take longer
        assert left() == []

    def test_a_host_that_does_not_exist(self, get):
        with pytest.raises(FetchError, match=r"could not be reached: .*[Rr]esol"):
            get("http://nowhere.invalid/w.pt")

    def test_a_server_that_hangs_before_the_body(self, server, get, body, context):
        url = server.add("/w.pt", body, hang=[3.0, 0.0])
        settings = replace(context.settings, read_timeout=0.3)
        assert get(url, settings=settings).path.read_bytes() == body

    def test_a_server_that_hangs_for_good(self, server, get, body, context, left):
        settings = replace(context.settings, read_timeout=0.2, attempts=2)
        with pytest.raises(FetchError, match=r"broke off: .*[Rr]ead timed out"):
            get(server.add("/w.pt", body, hang=[1.5]), settings=settings)
        assert left() == []

    def test_a_server_that_comes_back_is_waited_for(self, server, get, body):
        """Once it has answered, a refused connection is a break, and breaks are tried again."""
        url = server.add("/w.pt", body, status=[503, 200])
        assert get(url).path.read_bytes() == body

    @pytest.mark.parametrize("url", ["http://", "http://[::1/w.pt", "https://host:port/w.pt"])
    def test_an_address_that_is_none(self, get, url):
        with pytest.raises(FetchError):
            get(url)

    def test_a_certificate_bundle_that_is_not_there(self, get, monkeypatch, tmp_path):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no.pem"))
        with pytest.raises(FetchError, match=r"could not be asked for: .*no\.pem"):
            get("https://127.0.0.1:1/w.pt")


class TestProxy:
    def test_of_the_environment_is_used(self, server, get, body, monkeypatch):
        monkeypatch.setenv("http_proxy", server.url)
        server.add("http://weights.example/w.pt", body)  # what a proxy is asked: the whole address
        assert get("http://weights.example/w.pt").path.read_bytes() == body

    def test_that_is_not_there(self, get, monkeypatch, free_port):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
        with pytest.raises(FetchError, match=r"could not be reached by the proxy.*Check HTTPS_PROXY, NO_PROXY"):
            get("http://weights.example/w.pt")

    def test_no_proxy_is_honoured(self, server, get, body, monkeypatch, free_port):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(server.add("/w.pt", body)).path.read_bytes() == body


class TestManyAtOnce:
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


def test_settings_name_the_patience(server, get, folder):
    with pytest.raises(FetchError):
        get(server.add("/w.pt", status=[500]), settings=Settings(attempts=2, backoff=0.01))
    assert len(server.requests) == 2
