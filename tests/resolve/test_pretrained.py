"""What the argument `pretrained` refers to: a tag, or a path."""

from __future__ import annotations

import hashlib
import logging
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
from registry_core.resolve.pretrained import tower_files


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


def test_the_log_shows_no_secret_of_an_address(registry, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="registry_core")
    checkpoint = registry.save(registry.create("tiny", False), tmp_path / "saved") / "open_clip_model.safetensors"
    secret = f"{checkpoint.as_uri().replace('://', '://user:password@')}?token=abc"

    class Addresses:
        @hookimpl
        def resolve_pretrained(self, tag):
            return Weights((Url(secret), Url(checkpoint.as_uri()))) if tag == secret else None

        @hookimpl
        def describe_models(self):
            raise OSError(f"401 for {secret}")

    registry.register(Addresses())
    registry.create("tiny", secret)
    registry.services.catalog.descriptions()
    assert "weights of 'tiny': file file:///" in caplog.text
    assert "failed in its hook describe_models" in caplog.text
    assert "password" not in caplog.text
    assert "token" not in caplog.text


class TestUnknownWeights:
    def test_the_message_has_close_tags_all_tags_and_advice(self, registry):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("ViT-B-32", "openay")
        error, message = caught.value, str(caught.value)
        assert message.startswith(
            "ViT-B-32 has no weights 'openay': it is not one of its tags, and there is no file at that path. Did you "
            "mean openai? Its tags are: "
        )
        assert message.endswith("Nothing was built. Give one of them, or the path of a checkpoint.")
        assert "laion2b_s34b_b79k" in message
        assert (error.name, error.suggestions) == ("openay", ["openai"])
        assert error.expected == [tag for _, tag in registry.list_pretrained("ViT-B-32")]

    def test_of_a_model_without_tags(self, registry):
        with pytest.raises(UnknownWeightsError, match=r"Its tags are: none\.") as caught:
            registry.create("tiny", "openai")
        assert caught.value.expected == []

    @pytest.mark.parametrize("odd", ["a\0b", "x" * 5000, "~nobody-of-that-name/w.pt"])
    def test_of_an_impossible_path_is_the_same_error(self, registry, odd):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("tiny", odd)
        assert caught.value.name == odd

    def test_of_an_absent_path_object(self, registry, tmp_path):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("tiny", tmp_path / "absent.pt")
        assert caught.value.name == str(tmp_path / "absent.pt")


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
        assert "a file both exists too; the tag was used" in report.notes

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
    def test_none_warns_and_the_report_says_so(self, registry):
        with pytest.warns(RandomWeightsWarning, match="tiny was created with random weights.*pretrained=False"):
            model = registry.create("tiny")
        assert registry.report(model).random
        assert registry.report(model).weights == "random values"

    def test_the_warning_points_at_the_caller(self, registry):
        with pytest.warns(RandomWeightsWarning) as caught:
            registry.create("tiny")
        assert caught[0].filename == __file__

    def test_false_does_not_warn(self, registry):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert registry.report(registry.create("tiny", False)).random

    def test_an_empty_shell_does_not_warn(self, registry):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert registry.report(registry.create("tiny", device="meta")).weights == "none: an empty shell"

    @pytest.mark.parametrize("given", [True, 3, b"openai", ["openai"]])
    def test_other_values_are_an_error(self, registry, given):
        with pytest.raises(
            OverrideError, match=r"does not name weights\. Nothing was built\. Give a tag of tiny, or a path\.$"
        ) as caught:
            registry.create("tiny", given)
        assert (caught.value.argument, caught.value.found) == ("pretrained", given)


class TestWeightsOf:
    def test_uses_the_tags_activation_and_preprocessing(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt"), HubFile("org/repo", ("t.pt",)))
        plain = registry.report(registry.create("tiny", tiny_checkpoint))
        assert (plain.config.quick_gelu, plain.config.preprocess_cfg.resize_mode) == (False, "shortest")
        assert (
            "activation and preprocessing are those of the config: a path does not state them (weights_of= does)"
            in plain.notes
        )
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

    def test_another_hash_is_an_error_if_the_tag_has_one_file(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt", "00000000"))
        found = sha256(tiny_checkpoint)
        with pytest.raises(
            IntegrityError,
            match=rf"is not the file of tag 't': its SHA-256 should start with 00000000, is {found}\. Nothing was "
            r"loaded\. Leave weights_of= out to load the file as it is\.$",
        ) as caught:
            registry.create("tiny", tiny_checkpoint, weights_of="t")
        assert (caught.value.expected, caught.value.found) == ("00000000", found)
        assert caught.value.path == tiny_checkpoint

    def test_another_hash_is_a_note_if_the_tag_has_another_serialisation(self, tagged, tiny_checkpoint):
        registry = tagged("t", HubFile("org/repo", ("t.pt",)), Url("https://example.invalid/t.pt", "00000000"))
        report = registry.report(registry.create("tiny", tiny_checkpoint, weights_of="t"))
        assert any(note.startswith("the file is not the one at the URL of tag 't' (SHA-256)") for note in report.notes)

    def test_an_unknown_hash_is_a_note(self, tagged, tiny_checkpoint):
        registry = tagged("t", Url("https://example.invalid/t.pt"))
        report = registry.report(registry.create("tiny", tiny_checkpoint, weights_of="t"))
        assert "no SHA-256 is known for tag 't', so the file could not be compared with it" in report.notes

    @pytest.mark.parametrize("pretrained", [None, False, ""])
    def test_without_a_path_is_refused(self, registry, pretrained):
        with pytest.raises(
            OverrideError,
            match=r"^weights_of='openai' states which tag's file a path is, but pretrained= gives no path\.$",
        ) as caught:
            registry.create("tiny", pretrained, weights_of="openai")
        assert (caught.value.argument, caught.value.found) == ("weights_of", "openai")

    @pytest.mark.parametrize("given", ["openai", "/no/such/file.pt"])
    def test_with_a_tag_or_an_absent_path_is_refused(self, registry, given):
        with pytest.raises(
            OverrideError, match=rf"a path is, but there is no file at '{given}'\. Nothing was built\.$"
        ) as caught:
            registry.create("ViT-B-32", given, weights_of="openai")
        assert (caught.value.argument, caught.value.found) == ("weights_of", given)

    def test_with_an_unknown_tag_is_refused(self, registry, tiny_checkpoint):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.create("ViT-B-32", tiny_checkpoint, weights_of="openay")
        assert (caught.value.name, caught.value.suggestions) == ("openay", ["openai"])


class TestTowerFiles:
    def test_are_paths_by_tower(self, tiny_checkpoint):
        assert tower_files(image=str(tiny_checkpoint), text=None) == {"image": tiny_checkpoint}

    def test_that_do_not_exist_are_refused(self, tmp_path):
        path = tmp_path / "nowhere.pt"
        with pytest.raises(
            UnknownWeightsError,
            match=r"^text_weights='.*nowhere\.pt': there is no file at that path\. Nothing was built\. Correct the ",
        ) as caught:
            tower_files(image=None, text=path)
        assert (caught.value.argument, caught.value.path) == ("text_weights", path)
