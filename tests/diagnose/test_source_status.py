"""Where weights are on this machine, or where they would be fetched from."""

from __future__ import annotations

import pytest

from registry_core import HubFile, LocalFile, Url, Weights
from registry_core.diagnose.source_status import SourceStatus, TagStatus, source_statuses
from registry_core.fetch import FetchContext, Settings

pytestmark = pytest.mark.usefixtures("no_settings")

A = Weights((HubFile("org/repo", ("hub.pt", "b.pt")),), "a", licence="MIT")
B = Weights((Url("https://weights.example/b.pt"),), "b")


@pytest.fixture
def tagged(registry, add_plugin, monkeypatch):
    """A registry whose `tiny` has the tags a and b, with a mirror for the URL of b."""
    tags = {"a": A, "b": B}
    add_plugin(
        "tagged",
        list_pretrained=lambda: [("tiny", tag) for tag in tags],
        resolve_pretrained=lambda name, tag: tags.get(tag) if name == "tiny" else None,
    )
    monkeypatch.setenv("REGISTRY_CORE_MIRRORS", "weights.example=https://mirror.example")
    return registry


def status_of(source, folder, **settings):
    (status,) = source_statuses(Weights((source,)), FetchContext(folder, Settings(**settings)))
    return status


class TestTags:
    def test_each_has_its_file_or_its_address(self, tagged, cached):
        a, b = tagged.explain("tiny").tags
        assert a == TagStatus("a", here=True, size=2048, address=str(cached[1]), licence="MIT")
        assert b == TagStatus("b", here=False, size=None, address="https://mirror.example/b.pt", licence="unknown")

    def test_of_two_plugins_are_left_out(self, tagged, add_plugin):
        add_plugin("rival", resolve_pretrained=lambda name, tag: B if (name, tag) == ("tiny", "b") else None)
        assert [status.tag for status in tagged.explain("tiny").tags] == ["a"]

    def test_print_as_lines(self):
        here = TagStatus("a", here=True, size=2048, address="/cache/hub.pt", licence="MIT")
        assert str(here) == "a: 2,048 bytes, licence MIT, here /cache/hub.pt"
        remote = TagStatus("b", here=False, size=None, address="https://x/b.pt", licence="unknown")
        assert str(remote) == "b: size unknown, licence unknown, would be fetched from https://x/b.pt"

    def test_are_printed_unless_weights_are_asked_for(self, tagged, cached):
        assert f"a: 2,048 bytes, licence MIT, here {cached[1]}" in str(tagged.explain("tiny"))
        assert "licence MIT" not in str(tagged.explain("tiny", "a"))


class TestSources:
    def test_of_a_cached_tag(self, tagged, cached):
        found = tagged.explain("tiny", "a")
        (status,) = found.places
        assert found.licence == "MIT"
        assert (status.state, status.here, status.size) == ("in the cache, 2,048 bytes", True, 2048)
        assert status.path == str(cached[1])

    def test_of_a_remote_tag(self, tagged):
        found = tagged.explain("tiny", "b")
        (status,) = found.places
        assert found.licence == "unknown"
        assert (status.state, status.here, status.size) == ("not here yet", False, None)
        assert status.address == "https://mirror.example/b.pt"
        assert "would be fetched from https://mirror.example/b.pt" in str(found)

    def test_of_a_checkpoint(self, tiny_checkpoint, folder):
        status = status_of(LocalFile(tiny_checkpoint), folder)
        assert (status.here, status.size) == (True, tiny_checkpoint.stat().st_size)
        assert str(status) == status.state
        assert status.state.endswith(f" tensors, {status.size:,} bytes")

    def test_of_a_file_that_is_no_checkpoint(self, tmp_path, folder):
        page = tmp_path / "w.pt"
        page.write_text("<html></html>")
        status = status_of(LocalFile(page), folder)
        assert (status.here, status.size) == (True, None)
        assert status.state.startswith("create would fail: ")

    def test_of_an_impossible_hub_file(self, folder):
        status = status_of(HubFile("org/repo", ("../w.pt",)), folder)
        assert (status.path, status.here) == ("", False)
        assert status.state.startswith("create would fail: ")

    def test_print_the_mirror_only_if_there_is_one(self):
        status = SourceStatus("https://x/b.pt", "/cache/b.pt", "not here yet", address="https://x/b.pt")
        assert str(status) == "https://x/b.pt\n/cache/b.pt: not here yet"
        status = SourceStatus("https://x/b.pt", "/cache/b.pt", "not here yet", address="https://y/b.pt")
        assert str(status) == "https://x/b.pt\n/cache/b.pt: not here yet, would be fetched from https://y/b.pt"
