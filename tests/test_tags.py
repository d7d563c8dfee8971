from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import pytest

from registry_core import (
    HubFile,
    IntegrityError,
    LocalFile,
    OverrideError,
    RandomWeightsWarning,
    UnknownWeightsError,
    Url,
    Weights,
    hookimpl,
)


@pytest.fixture
def tagged(registry):
    """tagged("t", *sources) gives `tiny` a tag that states QuickGELU and squashing."""

    def tagged(tag, *sources):
        stated = {"quick_gelu": True, "preprocess_cfg": {"resize_mode": "squash"}}
        weights = Weights(sources, tag, stated)

        class Tags:
            @hookimpl
            def list_pretrained(self):
                return [("tiny", weights.tag)]

            @hookimpl
            def resolve_pretrained(self, name, tag):
                return weights if (name, tag) == ("tiny", weights.tag) else None

        registry.register(Tags())
        return registry

    return tagged


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class TestUnknownWeights:
    def test_lists_the_close_tags_all_tags_and_that_no_file_is_there(self, registry):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("ViT-B-32", "openay")
        message = str(caught.value)
        for words in (
            "ViT-B-32 has no weights 'openay'",
            "none of its tags",
            "no file is at that path",
            "Did you mean openai?",
            "laion2b_s34b_b79k",
            "Nothing was built",
            "path of a checkpoint",
        ):
            assert words in message

    def test_of_a_model_without_tags_says_so(self, registry):
        with pytest.raises(UnknownWeightsError, match="Its tags are: none"):
            registry.create("tiny", "openai")

    @pytest.mark.parametrize("odd", ["a\0b", "x" * 5000, "~nobody-of-that-name/w.pt"])
    def test_of_an_impossible_path_is_the_same_error(self, registry, odd):
        with pytest.raises(UnknownWeightsError, match="no file is at that path"):
            registry.create("tiny", odd)

    def test_of_an_absent_path_object(self, registry, tmp_path):
        with pytest.raises(UnknownWeightsError, match=r"absent\.pt"):
            registry.create("tiny", tmp_path / "absent.pt")


class TestTagAndPathOfOneName:
    @pytest.fixture
    def both(self, tagged, tiny_checkpoint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        registry = tagged("both", LocalFile(tiny_checkpoint))
        Path("both").write_bytes(tiny_checkpoint.read_bytes())
        return registry

    def test_the_tag_wins_and_the_report_says_so(self, both):
        report = both.report(both.create("tiny", "both"))
        assert report.weights == "tag 'both'"
        assert "a file both is there too; the tag was taken" in report.notes

    def test_a_path_object_is_always_a_path(self, both):
        report = both.report(both.create("tiny", Path("both")))
        assert report.weights == "file both"
        assert report.config.quick_gelu is False

    def test_a_written_out_path_is_a_path(self, both):
        assert both.report(both.create("tiny", "./both")).weights == "file both"

    def test_without_the_file_the_report_says_nothing(self, both):
        Path("both").unlink()
        assert both.report(both.create("tiny", "both")).notes == []


class TestNoWeights:
    def test_none_warns_and_the_report_knows(self, registry):
        with pytest.warns(RandomWeightsWarning, match="tiny was created with random weights.*pretrained=False"):
            model = registry.create("tiny")
        assert registry.report(model).random
        assert registry.report(model).weights == "random values"

    def test_the_warning_points_at_the_caller(self, registry):
        with pytest.warns(RandomWeightsWarning) as caught:
            registry.create("tiny")
        assert caught[0].filename == __file__

    def test_false_says_that_it_is_meant(self, registry):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert registry.report(registry.create("tiny", False)).random

    def test_a_shell_has_no_values_to_warn_of(self, registry):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert registry.report(registry.create("tiny", device="meta")).weights == "none: an empty shell"

    def test_true_is_an_error(self, registry):
        with pytest.raises(OverrideError, match=r"pretrained=True names no weights\. Give a tag of tiny, or a path"):
            registry.create("tiny", True)

    @pytest.mark.parametrize("given", [3, b"openai", ["openai"]])
    def test_what_is_no_name_is_an_error(self, registry, given):
        with pytest.raises(
            OverrideError, match=r"names no weights\. Give a tag of tiny, or a path\. Nothing was built"
        ):
            registry.create("tiny", given)

    def test_download_needs_a_tag(self, registry):
        with pytest.raises(OverrideError, match="download needs a tag of tiny, got ''"):
            registry.download("tiny", "")


class TestWeightsOf:
    def test_takes_the_tags_activation_and_preprocessing(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt"), HubFile("org/repo", ("t.pt",)))
        plain = registry.report(registry.create("tiny", tiny_checkpoint))
        assert (plain.config.quick_gelu, plain.config.preprocess_cfg.resize_mode) == (False, "shortest")
        assert any("a path states none (weights_of= would)" in note for note in plain.notes)
        model = registry.create("tiny", tiny_checkpoint, weights_of="t")
        report = registry.report(model)
        assert (report.config.quick_gelu, report.config.preprocess_cfg.resize_mode) == (True, "squash")
        assert report.weights == f"file {tiny_checkpoint}, as of tag 't'"
        assert "squash" in repr(registry.preprocess(model))

    def test_works_through_a_da_clip(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt"))
        report = registry.report(registry.create("daclip_tiny", tiny_checkpoint, weights_of="t"))
        assert report.config.quick_gelu is True

    def test_confirms_the_files_hash(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt", sha256(tiny_checkpoint)[:8]))
        report = registry.report(registry.create("tiny", tiny_checkpoint, weights_of="t"))
        assert "the file is that of tag 't', by its SHA-256" in report.notes

    def test_another_hash_is_an_error_where_the_tag_has_one_file(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt", "00000000"))
        with pytest.raises(
            IntegrityError, match="not the file of tag 't': its SHA-256 should start with 00000000, is"
        ) as e:
            registry.create("tiny", tiny_checkpoint, weights_of="t")
        assert sha256(tiny_checkpoint) in str(e.value)
        assert "Leave weights_of= out" in str(e.value)

    def test_another_hash_is_a_note_where_the_tag_has_another_serialisation(self, tagged, tiny_checkpoint):
        registry = tagged("t", HubFile("org/repo", ("t.pt",)), Url("https://example.invalid/t.pt", "00000000"))
        report = registry.report(registry.create("tiny", tiny_checkpoint, weights_of="t"))
        assert any(note.startswith("the file is not the one at tag 't'") for note in report.notes)

    def test_an_unknown_hash_is_a_note(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt"))
        report = registry.report(registry.create("tiny", tiny_checkpoint, weights_of="t"))
        assert any("no hash is known for tag 't'" in note for note in report.notes)

    @pytest.mark.parametrize("pretrained", [None, False, ""])
    def test_without_a_path_is_refused(self, registry, pretrained):
        with pytest.raises(
            OverrideError, match=r"weights_of='openai' says which tag's file a path is; .* gives no path"
        ):
            registry.create("tiny", pretrained, weights_of="openai")

    def test_with_a_tag_or_an_absent_path_is_refused(self, registry):
        for given in ("openai", "/no/such/file.pt"):
            with pytest.raises(OverrideError, match=f"no file is at '{given}'.*Nothing was built"):
                registry.create("ViT-B-32", given, weights_of="openai")

    def test_with_an_unknown_tag_is_refused(self, registry, tiny_checkpoint):
        with pytest.raises(UnknownWeightsError, match=r"has no weights 'openay'.*Did you mean openai"):
            registry.create("ViT-B-32", tiny_checkpoint, weights_of="openay")
