"""The model card: front matter, the hash that protects changed cards, and names that need escaping."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core import Registry
from registry_core.export.model_card import escaped, is_ours, model_card, quoted

README = "README.md"
yaml = pytest.importorskip("yaml")


class TestFrontMatter:
    def test_of_random_weights_names_no_licence(self, saved_card, source):
        assert saved_card(source).front == {
            "library_name": "registry_core",
            "pipeline_tag": "zero-shot-image-classification",
            "tags": ["clip", "openai_clip"],
        }

    @pytest.mark.parametrize(
        ("licence", "expected"),
        [
            ("", {}),
            ("MIT", {"license": "mit"}),
            ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
            ("Acme's own, v2: free", {"license": "other", "license_name": "acme-s-own-v2-free"}),
            ("§", {"license": "other"}),
        ],
    )
    def test_has_the_licence_that_is_known(self, saved_card, small, tagged, licence, expected):
        model = tagged(licence)
        assert small.report(model).licence == licence
        found = saved_card(model)
        assert {key: value for key, value in found.front.items() if "license" in key} == expected
        assert found.facts.get("licence of the weights", "") == licence

    def test_has_no_licence_if_a_part_is_from_another_file(self, saved_card, small, tagged, write):
        path = write("torch")
        assert small.report(tagged("MIT", image_weights=path)).licence == ""
        model = tagged("MIT")
        small.load(model, path)
        assert "license" not in saved_card(model).front

    def test_states_the_task_of_a_single_tower(self, saved_card, small):
        for tower, use in (("image", "image-feature-extraction"), ("text", "feature-extraction")):
            found = saved_card(small.create("small", False, tower=tower), tower)
            assert found.front["pipeline_tag"] == use
            assert found.facts["tower"] == f"{tower} only"

    def test_is_read_by_the_hub_s_own_library(self, small, source, tmp_path):
        hub = pytest.importorskip("huggingface_hub")
        loaded = hub.ModelCard.load(small.save(source, tmp_path / "x") / README)
        assert loaded.data.library_name == "registry_core"
        assert loaded.data.license is None


class TestReplacing:
    def test_an_unchanged_card_is_replaced(self, saved_card, small, source, write):
        first = saved_card(source).text
        second = saved_card(small.create("small", write("torch"))).text
        assert first != second
        assert is_ours(first)
        assert is_ours(second)
        assert is_ours(second.replace("\n", "\r\n"))

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text + "\nTrained on my own images.\n",
            lambda text: text.replace('- "clip"\n', '- "clip"\n- mine\n'),
            lambda text: text.replace("random values", "gold"),
            lambda _: "# My model\n",
            lambda _: "",
            lambda _: "---\n# registry_core wrote this card\n---\n",
        ],
    )  # fmt: skip
    def test_a_card_that_a_person_changed_stays(self, small, source, write, tmp_path, change):
        folder = small.save(source, tmp_path / "x")
        mine = change((folder / README).read_text(encoding="utf-8"))
        (folder / README).write_text(mine, encoding="utf-8")
        model = small.create("small", write("torch"))
        small.save(model, folder)
        assert (folder / README).read_text(encoding="utf-8") == mine
        assert small.create(f"local-dir:{folder}").state_dict().keys() == model.state_dict().keys()

    def test_a_folder_or_binary_file_stays(self, small, source, tmp_path):
        (tmp_path / "x" / README).mkdir(parents=True)
        small.save(source, tmp_path / "x")
        (tmp_path / "y").mkdir()
        (tmp_path / "y" / README).write_bytes(b"\xff\xfe")
        small.save(source, tmp_path / "y")
        assert (tmp_path / "x" / README).is_dir()
        assert (tmp_path / "y" / README).read_bytes() == b"\xff\xfe"


class TestOddNames:
    @given(st.text())
    def test_are_yaml(self, text):
        expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert yaml.safe_load(f"key: {quoted(text)}") == {"key": expected}

    @given(st.text())
    def test_are_markdown(self, parse_card, text):
        words = "".join(letter if letter.isprintable() else " " for letter in text).split()
        shown = parse_card(f"| | |\n|---|---|\n| model | {escaped(text)} |\n").facts
        assert {label: value.split() for label, value in shown.items()} == {"model": words}

    @given(st.text(), st.text())
    def test_do_not_break_the_card(self, parse_card, name, weights):
        registry = Registry()
        config = {
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
            "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 32, "heads": 2, "layers": 1},
        }
        registry.add_config(config, "one")
        model = registry.create("one", device="meta")
        report = replace(registry.report(model), name=name, weights=weights, licence=weights)
        text = model_card(registry.services, model, report)
        text.encode("utf-8")
        assert is_ours(text)
        assert parse_card(text).front["library_name"] == "registry_core"
        assert parse_card(text).facts["embedding size"] == "16"
