"""Sources, and how the log shows them."""

from __future__ import annotations

import pytest

from registry_core.fetch.sources import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host.example:80/a/w.pt", "https://host.example:80/a/w.pt"),
        ("https://user:p@ss@host.example/w.pt?token=abc&x=1#part", "https://host.example/w.pt"),
        ("hf-hub:org/repo@main/w.pt", "hf-hub:org/repo@main/w.pt"),
        ("failed for url: /w.pt?token=abc (read timeout)", "failed for url: /w.pt (read timeout)"),
        ("from https://token@a.example/w to https://b.example/w", "from https://a.example/w to https://b.example/w"),
    ],
)
def test_the_log_shows_no_secrets(text, shown):
    assert without_secrets(text) == shown
