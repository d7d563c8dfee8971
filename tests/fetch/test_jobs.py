"""A file that should be in the cache."""

from __future__ import annotations

import pytest

from registry_core import IntegrityError
from registry_core.fetch.jobs import DownloadJob, fetch_exclusively


def test_a_file_that_disappears_right_after_it_was_fetched(context, folder):
    job = DownloadJob("source", "https://host.example/w.pt", folder / "url" / "w.pt")
    with pytest.raises(
        IntegrityError, match=r"w\.pt was changed or removed right after it was fetched\. Check whether other programs"
    ) as caught:
        fetch_exclusively(job, context, lambda: None)
    assert (caught.value.path, caught.value.url) == (job.path, job.url)
    assert caught.value.expected
    assert caught.value.found


def test_a_token_is_not_shown():
    assert "hf_secret" not in repr(DownloadJob("source", "url", None, token="hf_secret"))  # noqa: S106 # not a real one
