from __future__ import annotations

import json
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from registry_core.cache import Record, cache_folder, cached_record, keep


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


class TestRecords:
    @pytest.fixture
    def kept(self, tmp_path):
        part = tmp_path / "w.part"
        part.write_bytes(b"12345")
        record = Record("ab" * 32, 5, "https://example.invalid/w.pt")
        keep(part, tmp_path / "w.pt", record)
        return tmp_path / "w.pt", record

    def test_lie_beside_the_file_and_are_read_back(self, kept):
        path, record = kept
        assert cached_record(path) == record
        assert sorted(p.name for p in path.parent.iterdir()) == ["w.pt", "w.pt.json"]

    def test_keeping_replaces_file_and_record(self, kept, tmp_path):
        path, _ = kept
        part = tmp_path / "again.part"
        part.write_bytes(b"123")
        keep(part, path, Record("cd" * 32, 3, "u"))
        assert path.read_bytes() == b"123"
        assert cached_record(path) == Record("cd" * 32, 3, "u")

    @pytest.mark.parametrize("spoil", ["file gone", "record gone", "length", "no json", "other keys", "a list"])
    def test_a_file_is_not_there_unless_all_of_it_is(self, kept, spoil):
        path, _ = kept
        note = path.with_name("w.pt.json")
        {
            "file gone": path.unlink,
            "record gone": note.unlink,
            "length": lambda: path.write_bytes(b"1234"),
            "no json": lambda: note.write_text("{"),
            "other keys": lambda: note.write_text(json.dumps({"hash": 1})),
            "a list": lambda: note.write_text("[]"),
        }[spoil]()
        assert cached_record(path) is None

    def test_of_nothing_is_none(self):
        assert cached_record(Path("/no/such/file")) is None
