"""Beam search, compared with a search over every text."""

from __future__ import annotations

import itertools

import pytest
import torch


class TestBeamSearch:
    @pytest.mark.parametrize("least", [1, 3])
    @torch.no_grad()
    def test_a_beam_for_every_text_finds_the_best_of_all(self, coca, image, least):
        """Four ids and texts of up to five: every text is scored by the model without any cache."""
        model = coca(text_cfg={"vocab_size": 4}, strength=0.6)
        pad, start, end, length = 0, 2, 3, 5
        found = model.generate(
            image, sot_token_id=start, eos_token_id=end, seq_len=length, min_seq_len=least, num_beams=108,
            num_beam_groups=1, fixed_output_length=True,
        )  # fmt: skip
        for row, one in enumerate(image):
            texts = torch.tensor([(start, *rest) for rest in itertools.product(range(4), repeat=length - 1)])
            latent, embs = (part.expand(len(texts), *part.shape[1:]) for part in model.image_outputs(one[None]))
            logits = model(None, texts, latent, embs, output_labels=False)["logits"]
            scores = {}
            for text, steps in zip(texts.tolist(), logits, strict=True):
                stop = text.index(end) + 1 if end in text else length
                if stop <= least:
                    continue
                total = sum(steps[index, text[index + 1]].item() for index in range(stop - 1))
                scores[tuple(text[:stop])] = total / stop
            best = max(scores, key=scores.get)
            assert found[row].tolist() == [*best, *[pad] * (length - len(best))]

    @torch.no_grad()
    def test_one_beam_takes_the_likeliest_token(self, model, image, tokens, plain_sampling):
        beams = model.generate(image, num_beams=1, num_beam_groups=1, **{**tokens, "min_seq_len": 9})
        greedy = plain_sampling(model, image, 0, top_k=1, least=9)
        torch.testing.assert_close(beams[:, :9], greedy[:, :9])

    def test_groups_without_a_penalty_are_one_group(self, model, image, tokens):
        three = model.generate(image, num_beams=6, num_beam_groups=3, **tokens)
        one = model.generate(image, num_beams=2, num_beam_groups=1, **tokens)
        torch.testing.assert_close(three, one)
        barely = model.generate(image, num_beams=6, num_beam_groups=3, diversity_penalty=1e-12, **tokens)
        torch.testing.assert_close(three, barely)

    def test_images_do_not_disturb_each_other(self, model, image, tokens):
        options = {
            "num_beams": 6,
            "num_beam_groups": 3,
            "diversity_penalty": 2.0,
            "fixed_output_length": True,
            **tokens,
        }
        together = model.generate(image, **options)
        for row in range(3):
            torch.testing.assert_close(model.generate(image[row : row + 1], **options)[0], together[row])

    def test_beam_search_looks_at_the_whole_context(self, model, image, tokens):
        options = {"repetition_penalty": 1.5, **tokens}
        torch.testing.assert_close(model.generate(image, max_seq_len=3, **options), model.generate(image, **options))
