"""What makes a Long-CLIP one."""

from __future__ import annotations

import pytest
import torch
from long_clip.convert import stretch

from registry_core import CheckpointError, ConfigError, Registry

BASE = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def registry():
    registry = Registry()
    registry.add_config(BASE, "base")
    return registry


@pytest.fixture
def base(registry):
    torch.manual_seed(0)
    return registry.create("base", pretrained=False)


def save(state, path):
    torch.save(state, path)
    return path


def ids(length):
    text = torch.randint(1, 98, (2, length), generator=torch.Generator().manual_seed(0))
    text[:, -1] = 99
    return text


class TestNames:
    def test_every_plain_clip_has_one(self, registry):
        assert {"longclip_ViT-B-16", "longclip_ViT-L-14", "longclip_RN50", "longclip_base"} <= {*registry.list_models()}

    def test_the_context_becomes_248(self, registry):
        assert registry.config("longclip_ViT-B-16").text_cfg.context_length == 248

    def test_published_and_base_tags_are_listed(self, registry):
        tags = {tag for _, tag in registry.list_pretrained("longclip_ViT-B-16")}
        assert {"longclip", "openai"} <= tags
        (place,) = registry.explain("longclip_ViT-B-16", "longclip").places
        assert "BeichenZhang/LongCLIP-B" in place.source

    def test_a_base_that_cannot_be_stretched_is_refused(self, registry):
        registry.add_config({**BASE, "text_cfg": {**BASE["text_cfg"], "context_length": 16}}, "short")
        assert "longclip_short" not in registry.list_models()
        with pytest.raises(ConfigError, match=r"longclip_short cannot be: .* more than 21 tokens, .* context 16"):
            registry.config("longclip_short")


class TestStretching:
    def test_gives_the_figures_of_the_paper(self):
        old = torch.arange(77.0)[:, None]
        new = stretch(old)[:, 0]
        assert len(new) == 248
        assert new[:20].tolist() == list(range(20))
        assert new[20:26].tolist() == [20, 20.25, 20.5, 20.75, 21, 21.25]
        assert new[-5:].tolist() == [75.75, 76, 76.25, 76.5, 76.75], "the last step goes on as the one before"

    def test_equals_the_published_loop(self):
        old = torch.randn(77, 8, generator=torch.Generator().manual_seed(0))
        new = stretch(old)
        for position in range(20, 76):
            for quarter in range(4):
                expected = old[position] * (4 - quarter) / 4 + old[position + 1] * quarter / 4
                torch.testing.assert_close(new[20 + (position - 20) * 4 + quarter], expected)
        for quarter in range(4):
            torch.testing.assert_close(new[244 + quarter], old[76] + quarter * (old[76] - old[75]) / 4)

    def test_a_plain_checkpoint_is_stretched_into_both_tables(self, registry, base, tmp_path):
        model = registry.create("longclip_base", save(base.state_dict(), tmp_path / "base.pt"))
        report = registry.report(model)
        assert report.kind == "plain CLIP, text positions stretched"
        assert report.adapted["positional_embedding_res"] == "stretched 77 -> 248"
        assert torch.equal(model.positional_embedding, model.positional_embedding_res)

    def test_texts_of_up_to_20_tokens_have_the_features_of_the_base(self, registry, base, tmp_path):
        model = registry.create("longclip_base", save(base.state_dict(), tmp_path / "base.pt"))
        for length in (1, 7, 20):
            assert torch.equal(model.encode_text(ids(length)), base.encode_text(ids(length)))
        assert not torch.equal(model.encode_text(ids(40)), base.encode_text(ids(40)))

    def test_the_image_side_is_the_bases(self, registry, base, tmp_path):
        model = registry.create("longclip_base", save(base.state_dict(), tmp_path / "base.pt"))
        picture = torch.randn(2, 3, 32, 32)
        assert torch.equal(model.encode_image(picture), base.encode_image(picture))

    def test_too_short_a_checkpoint_is_refused(self, registry, base, tmp_path):
        state = {**base.state_dict(), "positional_embedding": torch.zeros(16, 32)}
        with pytest.raises(CheckpointError, match="holds 16 text positions, expected more than 21"):
            registry.create("longclip_base", save(state, tmp_path / "short.pt"))


class TestThePublishedLayout:
    @pytest.fixture
    def published(self, base):
        """A state dict in that layout: two tables of 248, whose other halves must not count."""
        first, rest = torch.randn(248, 32), torch.randn(248, 32)
        return {**base.state_dict(), "positional_embedding": first, "positional_embedding_res": rest}

    def test_is_loaded_as_it_is(self, registry, published, tmp_path):
        model = registry.create("longclip_base", save(published, tmp_path / "long.pt"))
        report = registry.report(model)
        assert (report.kind, report.adapted) == ("Long-CLIP", {})
        assert torch.equal(model.state_dict()["positional_embedding_res"], published["positional_embedding_res"])

    def test_masks_tell_which_table_counts(self, registry, published, tmp_path):
        model = registry.create("longclip_base", save(published, tmp_path / "long.pt"))
        mask = (torch.arange(248) < 20).float()[:, None]
        expected = published["positional_embedding"] * mask + published["positional_embedding_res"] * (1 - mask)
        assert torch.equal(model.positions(248), expected)
        assert torch.equal(model.positions(12), expected[:12])

    def test_reads_texts_of_248_tokens(self, registry, published, tmp_path):
        model = registry.create("longclip_base", save(published, tmp_path / "long.pt"))
        assert model.encode_text(ids(248)).shape == (2, 24)

    def test_a_shorter_context_takes_the_first_positions(self, registry, published, tmp_path):
        path = save(published, tmp_path / "long.pt")
        whole, short = (
            registry.create("longclip_base", path),
            registry.create("longclip_base", path, context_length=100),
        )
        assert torch.equal(short.encode_text(ids(100)), whole.encode_text(ids(100)))
