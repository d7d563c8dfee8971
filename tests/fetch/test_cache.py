"""The cache folder: records, which files are trusted, and what verification finds."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from platformdirs import user_cache_path

from registry_core.fetch.cache import (
    Record,
    cache_folder,
    cached_record,
    commit,
    entries,
    record_of,
    record_path,
    remove,
    trusted_record,
    unfinished,
)

SOURCE = "https://example.invalid/w.pt"


class TestFolder:
    def test_the_argument_overrides_the_variable_and_the_variable_the_systems_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path / "variable"))
        assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
        assert cache_folder() == tmp_path / "variable"
        monkeypatch.delenv("REGISTRY_CORE_CACHE")
        assert cache_folder() == user_cache_path("registry_core")

    def test_the_home_folder_is_expanded_and_nothing_is_created(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_folder("~/weights") == tmp_path / "weights"
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cached(tmp_path):
    """A file of five bytes in a cache."""
    path = tmp_path / "url" / "host" / "0123" / "w.pt"
    path.parent.mkdir(parents=True)
    partial = path.with_name("w.pt.x.part")
    partial.write_bytes(b"12345")
    commit(partial, path, Record.now(hashlib.sha256(b"12345").hexdigest(), partial, SOURCE, SOURCE, "c0ffee"))
    return path


class TestRecords:
    def test_are_readable_json_next_to_the_file(self, cached):
        assert sorted(path.name for path in cached.parent.iterdir()) == ["w.pt", "w.pt.record"]
        found = json.loads(record_path(cached).read_text())
        assert (found["size"], found["source"], found["commit"]) == (5, SOURCE, "c0ffee")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 5}', '"x"', "null"])
    def test_that_cannot_be_read_are_ignored(self, cached, text):
        record_path(cached).write_text(text)
        assert record_of(cached) is None
        assert trusted_record(cached, SOURCE) is None

    def test_of_a_newer_version_are_read(self, cached):
        found = json.loads(record_path(cached).read_text())
        record_path(cached).write_text(json.dumps({**found, "more": 1}))
        assert trusted_record(cached, SOURCE) is not None


class TestTrustedRecord:
    def test_does_not_read_a_file_of_the_recorded_size_and_time(self, cached):
        status = cached.stat()
        cached.write_bytes(b"54321")
        os.utime(cached, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert trusted_record(cached, SOURCE) is not None
        assert entries(cached.parents[3])[0].problem.startswith("its SHA-256 is ")

    @pytest.mark.parametrize("content", [b"1234", b"123456", b"12346"])
    def test_is_none_for_another_size_or_other_bytes_at_another_time(self, cached, content):
        cached.write_bytes(content)
        os.utime(cached, ns=(5, 5))
        assert trusted_record(cached, SOURCE) is None

    def test_is_none_for_another_size_without_reading_the_file(self, cached, monkeypatch):
        cached.write_bytes(b"1234")
        monkeypatch.setattr("registry_core.fetch.cache.file_sha256", lambda _: pytest.fail("the file was read"))
        assert trusted_record(cached, SOURCE) is None

    def test_is_renewed_if_only_the_time_differs_and_the_hash_is_right(self, cached):
        os.utime(cached, ns=(5, 5))
        assert trusted_record(cached, SOURCE).time == 5
        assert record_of(cached).time == 5
        assert sorted(path.name for path in cached.parent.iterdir()) == ["w.pt", "w.pt.record"]

    def test_is_for_one_source_and_hash(self, cached):
        assert trusted_record(cached, "https://example.invalid/other.pt") is None
        assert trusted_record(cached, SOURCE, "00") is None
        assert trusted_record(cached, SOURCE, hashlib.sha256(b"12345").hexdigest()[:8]) is not None

    def test_needs_both_files(self, cached):
        content = cached.read_bytes()
        cached.unlink()
        assert cached_record(cached) is None
        assert trusted_record(cached, SOURCE) is None
        cached.write_bytes(content)
        record_path(cached).unlink()
        assert trusted_record(cached, SOURCE) is None

    def test_is_none_for_an_old_file_next_to_a_new_record(self, cached):
        """A process that is killed between the two moves leaves this."""
        old = cached.read_bytes()
        partial = cached.with_name("w.pt.y.part")
        partial.write_bytes(b"67890")
        record = Record.now(hashlib.sha256(b"67890").hexdigest(), partial, SOURCE, SOURCE, "")
        commit(partial, cached, record)
        cached.write_bytes(old)
        os.utime(cached, ns=(7, 7))
        assert trusted_record(cached, SOURCE) is None


class TestEntries:
    def test_are_fetched_files_only(self, cached):
        folder = cached.parents[3]
        (folder / "mine.txt").write_text("not ours")
        for name in ("w.pt.a.part", "w.pt.a.note", "w.pt.lock"):
            cached.with_name(name).write_text("x")
        assert [entry.path for entry in entries(folder)] == [cached]
        assert [path.name for path in unfinished(folder)] == ["w.pt.a.note", "w.pt.a.part"]

    def test_have_no_problem_if_they_are_unchanged(self, cached):
        assert entries(cached.parents[3])[0].problem == ""

    @pytest.mark.parametrize(
        ("damage", "problem"),
        [
            (lambda path: path.write_bytes(b"12"), "it has 2 bytes, expected 5"),
            (lambda path: path.write_bytes(b"12346"), "its SHA-256 is "),
            (lambda path: record_path(path).unlink(), "it has no record"),
        ],
    )
    def test_report_what_is_wrong(self, cached, damage, problem):
        damage(cached)
        assert entries(cached.parents[3])[0].problem.startswith(problem)

    def test_are_removed_with_their_empty_folders(self, cached):
        folder = cached.parents[3]
        remove(cached, folder)
        assert list(folder.iterdir()) == []

    def test_of_a_folder_that_does_not_exist(self, tmp_path):
        assert entries(tmp_path / "no") == []
