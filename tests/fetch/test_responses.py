"""What is wrong with a server's response, and what the error reports."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from registry_core import FetchError, IntegrityError
from registry_core.fetch.contract import AbsentError


class TestRefusals:
    @pytest.mark.parametrize(
        "refusal",
        [
            (
                401,
                FetchError,
                r"w\.pt failed: .* HTTP 401 Unauthorized: the server requires a login\. .*set HF_TOKEN or",
            ),
            (403, FetchError, r"HTTP 403 Forbidden: the server refuses access\. .*accept its terms and set HF_TOKEN"),
            (404, AbsentError, r"HTTP 404 Not Found: there is no such file\. Nothing was kept\.$"),
            (407, FetchError, r"HTTP 407 .*: the proxy requires a login\. .*HTTPS_PROXY=http://user:password@host"),
            (410, AbsentError, r"HTTP 410 Gone: the file is gone\. Nothing was kept\.$"),
            (451, FetchError, r"HTTP 451 .*: .*for legal reasons\. Nothing was kept\.$"),
            (400, FetchError, r"HTTP 400 Bad Request: this is not an answer with a file\. .*Check the address\.$"),
        ],
    )
    def test_fail_immediately_and_leave_nothing(self, server, get, cache_files, refusal):
        status, kind, message = refusal
        url = server.add("/w.pt", b"x", status=[status])
        with pytest.raises(kind, match=message) as caught:
            get(url)
        assert (caught.value.status, caught.value.url, caught.value.path.name) == (status, url, "w.pt")
        assert len(server.requests) == 1
        assert cache_files() == []

    def test_a_success_without_a_body(self, server, get):
        with pytest.raises(FetchError) as caught:
            get(server.add("/w.pt", b"x", status=[204]))
        assert (caught.value.status, caught.value.advice) == (204, "Check the address.")

    def test_a_416_for_the_whole_file(self, server, get, cache_files):
        with pytest.raises(FetchError, match=r"HTTP 416 .*: the server cannot continue the file\. Nothing") as caught:
            get(server.add("/w.pt", status=[416]))
        assert caught.value.status == 416
        assert cache_files() == []


class TestWrongFiles:
    def test_an_html_page_with_status_200(self, server, get, cache_files):
        page = b"\n <!DOCTYPE html><html><body>Log in</body></html>"
        with pytest.raises(
            IntegrityError,
            match=r"the answer was an HTML page instead of the file\. Nothing was kept\. .*Open the address",
        ) as caught:
            get(server.add("/w.pt", page))
        assert (caught.value.expected, caught.value.found) == ("a file", "an HTML page")
        assert (cache_files(), len(server.requests)) == ([], 1)

    def test_a_page_that_is_declared_as_html(self, server, get):
        with pytest.raises(IntegrityError) as caught:
            get(server.add("/w.pt", b"<script>", headers={"Content-Type": "text/html; charset=utf-8"}))
        assert (caught.value.found, caught.value.status) == ("an HTML page", 200)

    def test_weights_that_are_declared_as_html_are_accepted(self, server, get, body):
        url = server.add("/w.pt", body, headers={"Content-Type": "text/html"})
        assert get(url).path.read_bytes() == body

    def test_a_redirect_loop(self, server, get, cache_files):
        url = server.add("/w.pt", status=[302], headers={"Location": "/w.pt"})
        with pytest.raises(FetchError, match=r"the address redirects in a loop\. Nothing was kept\. .*its owner"):
            get(url)
        assert cache_files() == []

    def test_neither_length_nor_hash(self, server, get, body, cache_files):
        url = server.add("/w.pt", body, lengthless=True)
        with pytest.raises(FetchError, match=r"states no length and the SHA-256 is not known.*by hand") as caught:
            get(url)
        assert (caught.value.url, caught.value.status) == (url, 200)
        assert cache_files() == []
        assert get(url, hashlib.sha256(body).hexdigest()).path.read_bytes() == body


class TestNoAnswer:
    def test_a_host_that_does_not_exist(self, get):
        with pytest.raises(FetchError, match=r"could not be reached: .*[Rr]esol") as caught:
            get("http://nowhere.invalid/w.pt")
        assert (caught.value.url, caught.value.status) == ("http://nowhere.invalid/w.pt", None)

    def test_a_server_that_never_sends_the_body(self, server, get, body, context, cache_files):
        settings = replace(context.settings, read_timeout=0.2, attempts=2)
        url = server.add("/w.pt", body, hang=[1.5])
        with pytest.raises(FetchError, match=r"the connection was interrupted: .*[Rr]ead timed out") as caught:
            get(url, settings=settings)
        assert caught.value.url == url
        assert cache_files() == []

    def test_a_proxy_that_does_not_exist(self, get, monkeypatch, free_port):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")
        with pytest.raises(FetchError, match=r"the proxy could not be reached: .*Check HTTPS_PROXY and NO_PROXY"):
            get("http://weights.example/w.pt")

    def test_a_certificate_that_is_not_accepted(self):
        """Without a server: which sentence the exception of requests becomes."""
        from requests.exceptions import SSLError

        from registry_core.fetch.responses import transfer_error_of

        failure = transfer_error_of(SSLError("self-signed certificate"))
        assert failure.reason == "the certificate of the server was not accepted: self-signed certificate"
        assert "REQUESTS_CA_BUNDLE" in failure.facts["advice"]
        assert not failure.retryable

    def test_a_certificate_bundle_that_does_not_exist(self, get, monkeypatch, tmp_path):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no.pem"))
        with pytest.raises(FetchError, match=r"the request could not be sent: .*no\.pem.*Check the address and"):
            get("https://127.0.0.1:1/w.pt")
