"""Which failures are retried, how often, and after which delay."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from registry_core import FetchError
from registry_core.fetch import Settings

MB = 1 << 20


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_temporary_refusals_are_retried(server, get, body, status):
    assert get(server.add("/w.pt", body, status=[status, status, 200])).path.read_bytes() == body
    assert len(server.requests) == 3


def test_permanent_refusals_are_given_up(server, get, cache_files):
    with pytest.raises(
        FetchError, match=r"HTTP 503 Service Unavailable: .*overloaded or out of order\. .*Try again later"
    ) as caught:
        get(server.add("/w.pt", status=[503]))
    assert caught.value.status == 503
    assert len(server.requests) == 5
    assert cache_files() == []


def test_the_settings_limit_the_attempts(server, get):
    with pytest.raises(FetchError):
        get(server.add("/w.pt", status=[500]), settings=Settings(attempts=2, backoff=0.01))
    assert len(server.requests) == 2


class TestDelay:
    def test_of_the_server_is_honoured(self, server, get, body):
        url = server.add("/w.pt", body, status=[429, 200], headers={"Retry-After": "1"})
        started = time.monotonic()
        get(url)
        assert 0.95 <= time.monotonic() - started < 3

    def test_that_is_too_long_is_left_to_the_caller(self, server, get):
        url = server.add("/w.pt", status=[429], headers={"Retry-After": "3600"})
        with pytest.raises(FetchError, match=r"HTTP 429 .*asks clients to wait 3,600 seconds; try again") as caught:
            get(url)
        assert caught.value.status == 429
        assert len(server.requests) == 1


class TestProgress:
    def test_a_slow_but_steady_server_may_fail_more_often_than_a_bad_one(self, server, get, body_of, context):
        body = body_of(12 * MB)
        url = server.add("/w.pt", body, send=[MB])
        assert get(url, settings=replace(context.settings, attempts=2)).path.read_bytes() == body
        assert len(server.requests) == 12

    def test_a_server_that_never_gets_further_is_given_up(self, server, get, body):
        url = server.add("/w.pt", body, send=[2 * MB], ranges=False)
        with pytest.raises(FetchError) as caught:
            get(url)
        assert caught.value.url == url
        assert len(server.requests) <= 6


class TestReachability:
    def test_a_refused_connection_fails_immediately(self, get, free_port, cache_files):
        started = time.monotonic()
        with pytest.raises(
            FetchError, match=r"the server could not be reached: .*[Rr]efused.*Check the network.*--to FOLDER"
        ):
            get(f"http://127.0.0.1:{free_port}/w.pt", settings=Settings())
        assert time.monotonic() - started < 5  # the delays between five attempts would take longer
        assert cache_files() == []

    def test_a_server_that_hangs_before_the_body_is_retried(self, server, get, body, context):
        url = server.add("/w.pt", body, hang=[3.0, 0.0])
        settings = replace(context.settings, read_timeout=0.3)
        assert get(url, settings=settings).path.read_bytes() == body

    def test_a_server_that_recovers_is_retried(self, server, get, body):
        """After a server has answered once, a refused connection is an interruption, and interruptions are retried."""
        url = server.add("/w.pt", body, status=[503, 200])
        assert get(url).path.read_bytes() == body
