"""The cache folder: records, what is trusted, and what is found out."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from platformdirs import user_cache_path

from registry_core.cache import (
    Record,
    cache_folder,
    cached_record,
    entries,
    keep,
    record_of,
    record_path,
    remove,
    trusted_record,
    unfinished,
)

SOURCE = "https://example.invalid/w.pt"


class TestFolder:
    def test_the_argument_goes_before_the_variable_and_that_before_the_systems(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path / "variable"))
        assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
        assert cache_folder() == tmp_path / "variable"
        monkeypatch.delenv("REGISTRY_CORE_CACHE")
        assert cache_folder() == user_cache_path("registry_core")

    def test_a_home_is_expanded_and_nothing_created(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_folder("~/weights") == tmp_path / "weights"
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def kept(tmp_path):
    """A file of five bytes in a cache."""
    path = tmp_path / "url" / "host" / "0123" / "w.pt"
    path.parent.mkdir(parents=True)
    part = path.with_name("w.pt.x.part")
    part.write_bytes(b"12345")
    keep(part, path, Record.now(hashlib.sha256(b"12345").hexdigest(), part, SOURCE, SOURCE, "c0ffee"))
    return path


class TestRecords:
    def test_lie_beside_the_file_and_can_be_read_by_a_person(self, kept):
        assert sorted(path.name for path in kept.parent.iterdir()) == ["w.pt", "w.pt.record"]
        found = json.loads(record_path(kept).read_text())
        assert (found["size"], found["source"], found["commit"]) == (5, SOURCE, "c0ffee")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 5}', '"x"', "null"])
    def test_that_cannot_be_read_are_none(self, kept, text):
        record_path(kept).write_text(text)
        assert record_of(kept) is None
        assert trusted_record(kept, SOURCE) is None

    def test_of_a_newer_version_are_read(self, kept):
        found = json.loads(record_path(kept).read_text())
        record_path(kept).write_text(json.dumps({**found, "more": 1}))
        assert trusted_record(kept, SOURCE) is not None


class TestTrust:
    def test_is_given_without_reading_the_file(self, kept):
        status = kept.stat()
        kept.write_bytes(b"54321")
        os.utime(kept, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert trusted_record(kept, SOURCE) is not None
        assert entries(kept.parents[3])[0].problem.startswith("its SHA-256 is ")

    @pytest.mark.parametrize("content", [b"1234", b"123456", b"12346"])
    def test_ends_with_another_length_or_other_bytes_at_another_time(self, kept, content):
        kept.write_bytes(content)
        os.utime(kept, ns=(5, 5))
        assert trusted_record(kept, SOURCE) is None

    def test_is_renewed_by_the_hash_where_only_the_time_is_another(self, kept):
        os.utime(kept, ns=(5, 5))
        assert trusted_record(kept, SOURCE).time == 5
        assert record_of(kept).time == 5
        assert sorted(path.name for path in kept.parent.iterdir()) == ["w.pt", "w.pt.record"]

    def test_is_for_one_source_and_hash(self, kept):
        assert trusted_record(kept, "https://example.invalid/other.pt") is None
        assert trusted_record(kept, SOURCE, "00") is None
        assert trusted_record(kept, SOURCE, hashlib.sha256(b"12345").hexdigest()[:8]) is not None

    def test_needs_both_files(self, kept):
        content = kept.read_bytes()
        kept.unlink()
        assert cached_record(kept) is None
        assert trusted_record(kept, SOURCE) is None
        kept.write_bytes(content)
        record_path(kept).unlink()
        assert trusted_record(kept, SOURCE) is None

    def test_is_not_given_to_an_old_file_beside_a_new_record(self, kept):
        """What a process leaves that is killed between the two moves."""
        old = kept.read_bytes()
        part = kept.with_name("w.pt.y.part")
        part.write_bytes(b"67890")
        record = Record.now(hashlib.sha256(b"67890").hexdigest(), part, SOURCE, SOURCE, "")
        keep(part, kept, record)
        kept.write_bytes(old)
        os.utime(kept, ns=(7, 7))
        assert trusted_record(kept, SOURCE) is None


class TestEntries:
    def test_are_files_of_the_cache_and_no_others(self, kept):
        folder = kept.parents[3]
        (folder / "mine.txt").write_text("not ours")
        for name in ("w.pt.a.part", "w.pt.a.note", "w.pt.lock"):
            kept.with_name(name).write_text("x")
        assert [entry.path for entry in entries(folder)] == [kept]
        assert [path.name for path in unfinished(folder)] == ["w.pt.a.note", "w.pt.a.part"]

    def test_have_no_problem_when_they_are_as_they_came(self, kept):
        assert entries(kept.parents[3])[0].problem == ""

    @pytest.mark.parametrize(
        ("spoil", "problem"),
        [
            (lambda path: path.write_bytes(b"12"), "it has 2 bytes, expected 5"),
            (lambda path: path.write_bytes(b"12346"), "its SHA-256 is "),
            (lambda path: record_path(path).unlink(), "it has no record"),
        ],
    )
    def test_say_what_is_wrong(self, kept, spoil, problem):
        spoil(kept)
        assert entries(kept.parents[3])[0].problem.startswith(problem)

    def test_are_removed_with_their_empty_folders(self, kept):
        folder = kept.parents[3]
        remove(kept, folder)
        assert list(folder.iterdir()) == []

    def test_of_a_folder_that_is_not_there(self, tmp_path):
        assert entries(tmp_path / "no") == []
