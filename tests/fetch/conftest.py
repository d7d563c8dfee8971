"""Fixtures of the tests of fetching. No test sees the user's settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry_core import Url, Weights
from registry_core.fetch import fetch

MB = 1 << 20


@pytest.fixture(autouse=True)
def _own_settings(no_settings):
    """See `no_settings`."""


@pytest.fixture
def body(body_of):
    """The content of a file of 3 MB."""
    return body_of(3 * MB)


@pytest.fixture
def get(context):
    """Fetch a URL; further arguments change the context."""

    def get(url, sha256_prefix="", **changes):
        return fetch(Weights((Url(url, sha256_prefix),)), {}, replace(context, **changes))

    return get


@pytest.fixture
def cache_files(folder, files):
    """A function that returns the names of all files in the cache."""
    return lambda: files(folder)
