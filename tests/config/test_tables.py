from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import pytest

from registry_core import HubFile, Url
from registry_core.config.tables import HUB_FILENAMES, model_table, tag_table, tag_weights

PACKAGES = sorted(
    point.module.rpartition(".")[0]
    for point in entry_points(group="registry_core.plugins")
    if point.module.startswith("registry_plugins.")
)
TABLES = [
    (package, name)
    for package in PACKAGES
    for name in ("models.jsonl", "pretrained.jsonl")
    if files(package).joinpath(name).is_file()
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "some_tables"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop("some_tables", None)


def test_a_row_of_a_model_table_is_a_raw_config_by_name(package):
    (package / "models.jsonl").write_text('{"name": "a", "embed_dim": 3}\n\n{"name": "b", "embed_dim": 4}\n')
    read = model_table("some_tables")
    assert read() == {"a": {"embed_dim": 3}, "b": {"embed_dim": 4}}
    assert read() is read(), "read once"
    assert read().origin == str(package / "models.jsonl")


def test_a_row_of_a_tag_table_is_found_by_model_and_tag(package):
    (package / "pretrained.jsonl").write_text('{"model": "a", "tag": "t", "url": "https://example.invalid/w.pt"}\n')
    assert tag_table("some_tables")() == {("a", "t"): {"url": "https://example.invalid/w.pt"}}


class TestTagWeights:
    def test_the_hub_is_tried_before_the_url(self):
        weights = tag_weights("t", {"url": "https://x.invalid/w.pt", "sha256_prefix": "ab", "hf_hub": "org/repo/w.bin"})
        assert weights.sources == (HubFile("org/repo", ("w.bin",)), Url("https://x.invalid/w.pt", "ab"))
        assert weights.tag == "t"

    def test_a_hub_repository_without_a_file_has_the_usual_names(self):
        assert tag_weights("t", {"hf_hub": "org/repo/"}).sources == (HubFile("org/repo", HUB_FILENAMES),)
        assert HUB_FILENAMES[0].endswith(".safetensors")

    def test_what_is_not_in_the_row_is_not_stated(self):
        assert "quick_gelu" not in tag_weights("t", {"url": "u"}).stated
        assert tag_weights("t", {"url": "u", "quick_gelu": False}).stated["quick_gelu"] is False
        assert tag_weights("t", {"url": "u", "mean": [1, 2, 3]}).stated["preprocess_cfg"] == {"mean": [1, 2, 3]}


@pytest.mark.parametrize(("package_name", "filename"), TABLES)
class TestShippedTables:
    def rows(self, package_name, filename):
        text = files(package_name).joinpath(filename).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    def test_have_unique_rows(self, package_name, filename):
        keys = [(row.get("name"), row.get("model"), row.get("tag")) for row in self.rows(package_name, filename)]
        assert len(keys) == len(set(keys)) > 0

    def test_tags_have_a_model_a_source_and_valid_hashes(self, package_name, filename):
        if filename == "models.jsonl":
            assert all("name" in row for row in self.rows(package_name, filename))
            return
        names = {row["name"] for row in self.rows(package_name, "models.jsonl")}
        for row in self.rows(package_name, filename):
            assert row["model"] in names
            assert row.get("url", "https://").startswith("https://")
            assert {"url", "hf_hub"} & set(row)
            assert set(row.get("sha256_prefix", "")) <= set("0123456789abcdef")
            assert row.get("hf_hub", "a/b/").count("/") >= 2
