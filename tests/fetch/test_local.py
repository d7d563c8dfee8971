"""Local files that are fetched by a file: URL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from registry_core import FetchError, IntegrityError, LocalFile, Weights
from registry_core.fetch import fetch


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"123")
    return path


def test_the_file_is_used_in_place(local, get):
    found = get(local.as_uri())
    assert (found.path, found.cached) == (local, False)


def test_the_hash_is_verified(local, get):
    digest = hashlib.sha256(b"123").hexdigest()
    assert get(local.as_uri(), digest).path == local
    with pytest.raises(
        IntegrityError, match=rf"does not have the expected content: .*should begin with 0000, but is {digest}"
    ) as caught:
        get(local.as_uri(), "0000")
    assert (caught.value.expected, caught.value.found) == ("0000", digest)
    assert (caught.value.path, caught.value.url) == (local, local.as_uri())


def test_a_url_of_a_file_that_does_not_exist(get):
    with pytest.raises(FetchError, match=r"^/no/such\.pt does not exist\. Check the path\.$") as caught:
        get("file:///no/such.pt")
    assert (caught.value.path, caught.value.url) == (Path("/no/such.pt"), "file:///no/such.pt")


def test_a_path_of_a_file_that_does_not_exist(context):
    with pytest.raises(FetchError) as caught:
        fetch(Weights((LocalFile(Path("/no/such.pt")),)), {}, context)
    assert (caught.value.path, caught.value.url) == (Path("/no/such.pt"), None)
