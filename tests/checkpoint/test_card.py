"""The card of a saved model: facts alone, that every reader of YAML and Markdown understands."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from registry_core import LocalFile, Registry, Weights, hookimpl
from registry_core.checkpoint.card import escaped, is_ours, model_card, quoted
from registry_core.checkpoint.licences import front_matter

README = "README.md"
yaml = pytest.importorskip("yaml")


def card(folder):
    return (folder / README).read_text(encoding="utf-8")


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def facts(text):
    """The table, as Markdown shows it."""
    tokens = MarkdownIt().enable("table").parse(text)
    cells = [inline for cell, inline in pairwise(tokens) if cell.type == "td_open"]
    shown = ["".join(child.content for child in cell.children) for cell in cells]
    return dict(zip(shown[::2], shown[1::2], strict=True))


def changes(text):
    return re.findall(r"(?m)^- (.*)$", text.partition("## At loading")[2])


@pytest.fixture
def tagged(small, source, tmp_path):
    """tagged(licence) -> `small` from a tag of that licence."""
    torch.save(source.state_dict(), tmp_path / "tagged.pt")

    class Tags:
        licence = ""

        @hookimpl
        def list_pretrained(self):
            return [("small", "mine")]

        @hookimpl
        def resolve_pretrained(self, name, tag):
            found = Weights((LocalFile(tmp_path / "tagged.pt"),), tag, {"quick_gelu": True}, licence=self.licence)
            return found if (name, tag) == ("small", "mine") else None

    tags = Tags()
    small.register(tags, "tags")

    def create(licence, **options):
        tags.licence = licence
        return small.create("small", "mine", **options)

    return create


class TestFrontMatter:
    def test_of_random_weights_names_no_licence(self, small, source, tmp_path):
        keys = front(card(small.save(source, tmp_path / "x")))
        assert keys == {
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
    def test_has_the_licence_that_is_known(self, small, tagged, tmp_path, licence, expected):
        model = tagged(licence)
        assert small.report(model).licence == licence
        text = card(small.save(model, tmp_path / "x"))
        assert {key: value for key, value in front(text).items() if "license" in key} == expected
        assert facts(text).get("licence of the weights", "") == licence

    def test_has_none_where_a_part_is_from_elsewhere(self, small, tagged, write, tmp_path):
        path = write("torch")
        assert small.report(tagged("MIT", image_weights=path)).licence == ""
        model = tagged("MIT")
        small.load(model, path)
        assert "license" not in front(card(small.save(model, tmp_path / "x")))

    def test_says_what_one_tower_is_for(self, small, tmp_path):
        for tower, use in (("image", "image-feature-extraction"), ("text", "feature-extraction")):
            text = card(small.save(small.create("small", False, tower=tower), tmp_path / tower))
            assert front(text)["pipeline_tag"] == use
            assert facts(text)["tower"] == f"{tower} only"

    def test_is_read_by_the_hub_s_own_library(self, small, source, tmp_path):
        hub = pytest.importorskip("huggingface_hub")
        loaded = hub.ModelCard.load(small.save(source, tmp_path / "x") / README)
        assert loaded.data.library_name == "registry_core"
        assert loaded.data.license is None

    @given(st.text())
    def test_takes_any_licence(self, licence):
        keys = front_matter(licence)
        assert keys.keys() <= {"license", "license_name"}
        assert ("license" in keys) == bool(licence.strip())


class TestFacts:
    def test_are_those_of_the_model(self, small, tagged, tmp_path):
        text = card(small.save(tagged("MIT", context_length=12), tmp_path / "x"))
        shown = facts(text)
        assert shown["model"] == "small"
        assert shown["architecture"].startswith("openai_clip (registry_core ")
        assert shown["weights"] == "tag 'mine'"
        assert shown["embedding size"] == "16"
        assert shown["picture"] == "32 x 32 pixels, height x width"
        assert shown["context length"] == "12 tokens"
        assert shown["activation"] == "QuickGELU"
        assert shown["mean"] == "0.48145466, 0.4578275, 0.40821073"
        assert (shown["interpolation"], shown["resize mode"]) == ("bicubic", "shortest")
        assert shown["saved by"].endswith(f"torch {torch.__version__}")
        assert changes(text) == [
            "quick\\_gelu, by tag 'mine': True",
            "text\\_cfg.context\\_length, by the caller: 12",
            "adapted: positional\\_embedding (resized 16 -\\> 12, linear)",
        ]

    @pytest.mark.parametrize("name", ["small", "daclip_small", "tiny-rn"])
    def test_count_each_parameter_once(self, small, tmp_path, name):
        model = small.create(name, False)
        shown = facts(card(small.save(model, tmp_path / "x")))
        count = {key: int(value.replace(",", "")) for key, value in shown.items() if key.startswith("parameters")}
        image = [module for key, module in model.named_children() if key.startswith("visual")]
        assert count.pop("parameters") == sum(p.numel() for p in model.parameters()) == sum(count.values())
        assert count["parameters in the image tower"] == sum(p.numel() for m in image for p in m.parameters())
        assert count["parameters in both or neither"] == (2 if name.startswith("daclip") else 1)

    def test_name_the_dtypes(self, small, write, tmp_path):
        model = small.create("small", write("torch"), precision="bf16")
        shown = facts(card(small.save(model, tmp_path / "x")))
        assert shown["precision"] == "bf16"
        low = sum(tensor.dtype == torch.bfloat16 for tensor in model.state_dict().values())
        assert f"bfloat16 ({low} tensors)" in shown["stored as"]

    def test_say_what_is_random_and_what_is_left_from_before(self, small, source, write, tmp_path):
        del source._parameters["text_projection"]
        path = write("torch")
        model = small.create("small", path, strict=False)
        assert "not read, random: text\\_projection" in changes(card(small.save(model, tmp_path / "x")))
        model = small.create("small", False)
        small.load(model, path, strict=False)
        text = card(small.save(model, tmp_path / "x"))
        assert "not read, with the values from before: text\\_projection" in changes(text)
        assert facts(text)["before these"] == "random values"

    def test_show_no_folder_of_the_user_s(self, small, source, write, tmp_path):
        secret = tmp_path / "secret"
        secret.mkdir()
        path = write("torch", "secret/mine.pt")
        model = small.create("small", path, text_cfg={"hf_tokenizer_name": str(secret / "words")}, image_weights=path)
        texts = [card(small.save(model, tmp_path / "x"))]
        small.load(model, path)
        small.load(model, path)
        texts.append(card(small.save(model, tmp_path / "x")))
        texts.append(
            card(small.save(small.create(f"local-dir:{small.save(source, secret)}"), tmp_path / "y" / "named"))
        )
        for text in texts:
            assert str(tmp_path) not in text
            assert facts(text)["weights"] in {"file mine.pt", "file open_clip_model.safetensors"}
        assert facts(texts[0])["image tower from"] == "file mine.pt"
        assert facts(texts[1])["before these"] == "file mine.pt"
        assert facts(texts[2])["model"] == "secret"

    @pytest.mark.parametrize("options", [{}, {"precision": "pure_fp16"}, {"tower": "text"}])
    def test_show_code_that_gives_the_model_back(self, small, write, tmp_path, options):
        model = small.create("small", write("torch"), **options)
        folder = small.save(model, tmp_path / "x")
        code = re.search(r"```python\n(.*?)```", card(folder), re.DOTALL)[1]
        code = code.partition("preprocess = ")[0].replace("path/to/this/folder", str(folder))
        names = {}
        exec(code, names)  # noqa: S102 - the subject
        again = names["model"].state_dict()
        assert again.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert again[name].dtype == tensor.dtype
            assert torch.equal(again[name], tensor)


class TestWhoseCard:
    def test_ours_is_renewed(self, small, source, write, tmp_path):
        first = card(small.save(source, tmp_path / "x"))
        second = card(small.save(small.create("small", write("torch")), tmp_path / "x"))
        assert first != second
        assert is_ours(first)
        assert is_ours(second)
        assert is_ours(second.replace("\n", "\r\n"))

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text + "\nTrained on my own pictures.\n",
            lambda text: text.replace('- "clip"\n', '- "clip"\n- mine\n'),
            lambda text: text.replace("random values", "gold"),
            lambda _: "# My model\n",
            lambda _: "",
            lambda _: "---\n# registry_core wrote this card\n---\n",
        ],
    )  # fmt: skip
    def test_one_that_a_person_changed_stays(self, small, source, write, tmp_path, change):
        folder = small.save(source, tmp_path / "x")
        mine = change(card(folder))
        (folder / README).write_text(mine, encoding="utf-8")
        model = small.create("small", write("torch"))
        small.save(model, folder)
        assert card(folder) == mine
        assert small.create(f"local-dir:{folder}").state_dict().keys() == model.state_dict().keys()

    def test_what_is_no_text_stays(self, small, source, tmp_path):
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
    def test_are_markdown(self, text):
        words = "".join(letter if letter.isprintable() else " " for letter in text).split()
        shown = facts(f"| | |\n|---|---|\n| model | {escaped(text)} |\n")
        assert {name: value.split() for name, value in shown.items()} == {"model": words}

    @given(st.text(), st.text())
    def test_spoil_no_card(self, name, weights):
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
        assert front(text)["library_name"] == "registry_core"
        assert facts(text)["embedding size"] == "16"
