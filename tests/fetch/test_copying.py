"""Mirrors on a disk: files are copied into the cache, even offline, and verified like downloads."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

import pytest

from registry_core import IntegrityError
from registry_core.fetch.contract import AbsentError

URL = "https://weights.example/w.pt"


@pytest.fixture
def mirror(tmp_path):
    """A folder that is a mirror of weights.example."""
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture
def copy(context, mirror, get):
    """Fetch the URL offline from the mirror."""
    settings = replace(context.settings, mirrors={"weights.example": mirror.as_uri()}, offline="X")
    return lambda sha256_prefix="": get(URL, sha256_prefix, settings=settings)


def test_a_file_is_copied_even_offline(copy, mirror, cache_files):
    (mirror / "w.pt").write_bytes(b"123")
    found = copy()
    assert (found.cached, found.path.read_bytes()) == (True, b"123")
    assert cache_files() == ["w.pt", "w.pt.record"]


def test_the_log_names_both_paths(copy, mirror, caplog):
    caplog.set_level(logging.INFO, logger="registry_core.fetch")
    (mirror / "w.pt").write_bytes(b"123")
    path = copy().path
    assert [record.getMessage() for record in caplog.records if record.name.startswith("registry_core.fetch")] == [
        f"Copying {URL} from {mirror / 'w.pt'} to {path}",
        f"Fetched {URL}: 3 bytes at {path}",
    ]


def test_the_hash_is_verified(copy, mirror, cache_files):
    (mirror / "w.pt").write_bytes(b"123")
    with pytest.raises(IntegrityError) as caught:
        copy("0000")
    assert (caught.value.expected, caught.value.found) == ("0000", hashlib.sha256(b"123").hexdigest())
    assert cache_files() == []


def test_a_mirror_without_the_file(copy, mirror):
    with pytest.raises(
        AbsentError, match=rf"^Copying {URL} from {mirror}/w\.pt failed, since the file could not be read: No such file"
    ) as caught:
        copy()
    assert (caught.value.url, caught.value.path) == (URL, mirror / "w.pt")
