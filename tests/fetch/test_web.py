"""Files at URLs: their path in the cache, and mirrors."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from registry_core import FetchError, Url
from registry_core.fetch import Settings, location
from registry_core.fetch.cache import record_of
from registry_core.fetch.contract import AbsentError


def test_the_path_in_the_cache_is_readable(server, get, body, folder):
    path = get(server.add("/some/path/w.pt", body)).path.relative_to(folder)
    assert re.fullmatch(r"url/127\.0\.0\.1_\d+/[0-9a-f]{16}/w\.pt", path.as_posix())


@pytest.mark.parametrize("url", ["http://", "http://[::1/w.pt", "https://host:port/w.pt"])
def test_an_invalid_address(get, url):
    with pytest.raises(FetchError):
        get(url)


def test_an_invalid_address_is_named(folder):
    with pytest.raises(FetchError, match=r"http://\[::1/w\.pt is not a valid URL: .*Nothing was fetched") as caught:
        location(Url("http://[::1/w.pt"), folder)
    assert caught.value.url == "http://[::1/w.pt"


class TestMirrors:
    def test_are_requested_instead_and_the_path_in_the_cache_stays(self, server, get, context, body_of):
        server.add("/mirror/w.pt", body_of(1000))
        settings = replace(context.settings, mirrors={"weights.example": f"{server.url}/mirror"})
        found = get("https://weights.example/w.pt", settings=settings)
        record = record_of(found.path)
        assert (record.source, record.url) == ("https://weights.example/w.pt", f"{server.url}/mirror/w.pt")
        assert get("https://weights.example/w.pt", settings=Settings(offline="X")) == found

    def test_are_named_in_errors(self, server, get, context):
        settings = replace(context.settings, mirrors={"weights.example": server.url})
        with pytest.raises(
            AbsentError, match=r"^Fetching https://weights\.example/w\.pt from http://127\S*/w\.pt failed: "
        ) as caught:
            get("https://weights.example/w.pt", settings=settings)
        assert (caught.value.url, caught.value.status) == (f"{server.url}/w.pt", 404)
