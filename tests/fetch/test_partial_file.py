"""Partial files that other processes have left."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from registry_core.fetch.partial_file import PartialMetadata, _write_metadata, metadata_path

MB = 1 << 20
COMPLETE = ["w.pt", "w.pt.record"]


def age(*paths):
    """Let files look as if they had not changed for longer than a living process pauses."""
    for path in paths:
        os.utime(path, (time.time() - 1000,) * 2)


@pytest.fixture
def url(server, body):
    return server.add("/w.pt", body)


@pytest.fixture
def partial(url, body, get):
    """A valid partial file that a process of another machine has left."""
    path = get(url).path
    path.unlink()
    partial = path.with_name("w.pt.0123abcd-77-89abcdef.part")
    partial.write_bytes(body[: 2 * MB])
    _write_metadata(partial, PartialMetadata(url, '"v1"', len(body)))
    return partial


def test_of_another_machine_is_not_touched_while_its_process_may_live(partial, url, get, server):
    get(url)
    assert server.ranges()[-1] is None
    assert partial.exists()


def test_of_another_machine_is_taken_over_if_it_has_not_changed_for_long(partial, url, get, server, cache_files):
    age(partial)
    get(url)
    assert server.ranges()[-1] == f"bytes={2 * MB}-"
    assert cache_files() == COMPLETE


def test_with_damaged_bytes_is_detected_and_downloaded_again(partial, url, get, server, body):
    partial.write_bytes(bytes(2 * MB))
    age(partial)
    assert get(url, hashlib.sha256(body).hexdigest()).path.read_bytes() == body
    assert server.ranges()[-2:] == [f"bytes={2 * MB}-", None]


def test_that_is_complete_needs_no_request(partial, url, get, server, body):
    partial.write_bytes(body)
    age(partial)
    before = len(server.requests)
    assert get(url).path.read_bytes() == body
    assert len(server.requests) == before


def test_with_unreadable_metadata_is_removed(partial, url, get, server, cache_files):
    metadata_path(partial).write_text("{")
    age(partial, metadata_path(partial))
    get(url)
    assert server.ranges()[-1] is None
    assert cache_files() == COMPLETE
