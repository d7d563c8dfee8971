"""Captions, against plain re-implementations that run the whole model at each step."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from registry_core import InputError

PAD, START, END = 0, 38, 39


def plain_sampling(
    model, image, seed, *, top_k=None, top_p=None, temperature=1.0, penalty=1.0, seq_len=10, least=3, window=77
):
    """Row by row and token by token; draws in the order of the rows that still go on."""
    generator = torch.Generator().manual_seed(seed)
    latent, embs = model.image_outputs(image)
    texts = [[START] for _ in image]
    while len(texts[0]) < seq_len:
        going = [row for row, text in enumerate(texts) if text[-1] not in {END, PAD}]
        if not going:
            break
        chances = []
        # Without any cache: the whole text tower and decoder over the whole texts, as far as the window reaches.
        seen = [text[-window:] for text in texts]
        steps = model(None, torch.tensor(seen), latent, embs, output_labels=False)["logits"][:, -1].tolist()
        for row in going:
            logits = steps[row]
            if len(seen[row]) < least:
                logits[END] = -float("inf")
            for token in set(seen[row]):
                logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
            order = sorted(range(len(logits)), key=lambda token: -logits[token])
            share = torch.tensor(logits).softmax(0).tolist()
            if top_k is not None:
                kept = order[:top_k]
            else:
                held = list(itertools.accumulate(share[token] for token in order))
                kept = [token for place, token in enumerate(order) if place == 0 or held[place - 1] < top_p]
            narrowed = torch.full((len(logits),), -float("inf"))
            narrowed[kept] = torch.tensor(logits)[kept]
            chances.append((narrowed / temperature).softmax(0))
        if len(seen[0]) + 1 == seq_len:
            drawn = dict.fromkeys(going, END)
        else:
            found = torch.multinomial(torch.stack(chances), 1, generator=generator)[:, 0].tolist()
            drawn = dict(zip(going, found, strict=True))
        texts = [[*text, drawn.get(row, PAD)] for row, text in enumerate(texts)]
    return torch.tensor(texts)


class TestSampling:
    @pytest.mark.parametrize("how", [
        {"top_k": 1}, {"top_k": 4, "temperature": 1.5}, {"top_k": 40, "temperature": 3.0},
        {"top_p": 0.5}, {"top_p": 0.9, "temperature": 2.0}, {"top_k": 3, "penalty": 1.7}, {"top_k": 40, "least": 1},
        {"top_k": 3, "window": 4, "penalty": 1.7}, {"top_p": 0.9, "window": 2}, {"top_k": 3, "window": 9},
    ])  # fmt: skip
    @torch.no_grad()
    def test_equals_a_plain_implementation(self, model, image, tokens, how):
        options = {"repetition_penalty": how.get("penalty", 1.0), **tokens, "min_seq_len": how.get("least", 3)}
        options["max_seq_len"] = how.get("window", 77)
        given = {key: value for key, value in how.items() if key in {"top_k", "top_p", "temperature"}}
        kind = "top_k" if "top_k" in how else "top_p"
        for seed in range(3):
            found = model.generate(
                image, generation_type=kind, generator=torch.Generator().manual_seed(seed), **given, **options
            )
            torch.testing.assert_close(found, plain_sampling(model, image, seed, **how))

    def test_a_seeded_generator_repeats(self, model, image, tokens):
        def run(seed):
            generator = torch.Generator().manual_seed(seed)
            return model.generate(
                image, generation_type="top_k", top_k=40, temperature=3.0, generator=generator, **tokens
            )

        torch.testing.assert_close(run(1), run(1))
        assert run(1).tolist() != run(2).tolist()

    def test_texts_end_and_are_padded(self, model, image, tokens):
        found = model.generate(
            image, generation_type="top_k", top_k=40, temperature=9.0, fixed_output_length=True, **tokens
        )
        assert found.shape == (3, 10)
        for row in found.tolist():
            end = row.index(END) if END in row else row.index(PAD)
            assert end >= 3
            assert not any(row[end + 1 :])


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
        for row, picture in enumerate(image):
            texts = torch.tensor([(start, *rest) for rest in itertools.product(range(4), repeat=length - 1)])
            latent, embs = (part.expand(len(texts), *part.shape[1:]) for part in model.image_outputs(picture[None]))
            logits = model(None, texts, latent, embs, output_labels=False)["logits"]
            scores = {}
            for text, steps in zip(texts.tolist(), logits, strict=True):
                stop = text.index(end) + 1 if end in text else length
                if stop <= least:
                    continue
                total = sum(steps[place, text[place + 1]].item() for place in range(stop - 1))
                scores[tuple(text[:stop])] = total / stop
            best = max(scores, key=scores.get)
            assert found[row].tolist() == [*best, *[pad] * (length - len(best))]

    @torch.no_grad()
    def test_one_beam_takes_the_likeliest_token(self, model, image, tokens):
        beams = model.generate(image, num_beams=1, num_beam_groups=1, **{**tokens, "min_seq_len": 9})
        greedy = plain_sampling(model, image, 0, top_k=1, least=9)
        torch.testing.assert_close(beams[:, :9], greedy[:, :9])

    def test_groups_without_a_penalty_are_one_group(self, model, image, tokens):
        three = model.generate(image, num_beams=6, num_beam_groups=3, **tokens)
        one = model.generate(image, num_beams=2, num_beam_groups=1, **tokens)
        torch.testing.assert_close(three, one)
        barely = model.generate(image, num_beams=6, num_beam_groups=3, diversity_penalty=1e-12, **tokens)
        torch.testing.assert_close(three, barely)

    def test_pictures_do_not_disturb_each_other(self, model, image, tokens):
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


class TestPublishedFigures:
    """What open_clip 3.3.0 wrote with transformers 4.49, the last line with which its `generate` runs."""

    @pytest.fixture
    def figures(self, golden):
        return json.loads((golden / "coca_tiny_generate.json").read_text())

    def test_all_kinds_of_generation(self, registry, golden, figures):
        registry.add_config(figures["config"], "published")
        model = registry.create("published", golden / "coca_tiny.safetensors")
        shape = figures["images"]
        image = torch.tensor(shape["values"]).view(shape["shape"])
        assert len(figures["cases"]) >= 20
        for case in figures["cases"]:
            torch.manual_seed(case["seed"])
            found = model.generate(image, **figures["tokens"], **case["options"])
            assert found.tolist() == case["ids"], case["options"]


class TestWork:
    """How much is computed: the pictures once, and each token once."""

    @pytest.fixture
    def seen(self, model):
        """Rows and tokens that each part was given, call by call."""
        calls = {"visual": [], "text": [], "decoder": [], "image keys": []}

        def note(name):
            return lambda _, given: calls[name].append(tuple(given[0].shape[:2]))

        model.visual.register_forward_pre_hook(note("visual"))
        model.text.transformer.resblocks[0].register_forward_pre_hook(note("text"))
        model.text_decoder.resblocks[0].register_forward_pre_hook(note("decoder"))
        model.text_decoder.cross_attn[0].ln_1_kv.register_forward_pre_hook(note("image keys"))
        return calls

    def test_sampling(self, model, image, tokens, seen):
        model.generate(image, generation_type="top_k", **{**tokens, "min_seq_len": 9})
        assert seen == {
            "visual": [(3, 3)], "image keys": [(3, 5)], "text": [(3, 1)] * 8, "decoder": [(3, 1)] * 8,
        }  # fmt: skip

    def test_beams_share_their_picture(self, model, image, tokens, seen):
        model.generate(image, num_beams=6, num_beam_groups=3, diversity_penalty=1.0, **{**tokens, "min_seq_len": 9})
        assert seen["visual"] == [(3, 3)]
        assert seen["image keys"] == [(3, 5)]
        assert seen["text"] == seen["decoder"] == [(18, 1)] * 9

    def test_a_beginning_is_read_in_one_go(self, model, image, tokens, seen):
        model.generate(image, torch.tensor([START, 3, 4]), generation_type="top_k", **{**tokens, "min_seq_len": 9})
        assert seen["text"] == [(3, 3)] + [(3, 1)] * 5


class TestExactness:
    @pytest.mark.parametrize("text_cfg", [{}, {"embed_cls": False}, {"no_causal_mask": True}])
    @torch.no_grad()
    def test_growing_texts_give_the_logits_of_whole_ones(self, coca, image, text, text_cfg):
        from registry_plugins.coca.next_token import NextToken

        model = coca(text_cfg=text_cfg)
        latent, embs = model.image_outputs(image)
        step = NextToken(model, embs, 12)
        ids = text  # some of it is padding, which hides the place after it
        for length in (2, 3, 4, 5, 6, 9, 12):
            whole = model(None, ids[:, :length], latent, embs, output_labels=False)["logits"][:, -1]
            torch.testing.assert_close(step.logits(ids[:, :length]), whole, atol=2e-5, rtol=1e-4)

    @torch.no_grad()
    def test_beyond_the_window_the_last_tokens_count(self, coca, image):
        from registry_plugins.coca.next_token import NextToken

        model = coca()
        latent, embs = model.image_outputs(image)
        step = NextToken(model, embs, 5)
        ids = torch.randint(1, 38, (3, 9), generator=torch.Generator().manual_seed(3))
        for length in range(1, 10):
            window = ids[:, :length][:, -5:]
            whole = model(None, window, latent, embs, output_labels=False)["logits"][:, -1]
            torch.testing.assert_close(step.logits(ids[:, :length]), whole, atol=2e-5, rtol=1e-4)

    def test_beam_search_looks_at_the_whole_context(self, model, image, tokens):
        options = {"repetition_penalty": 1.5, **tokens}
        torch.testing.assert_close(model.generate(image, max_seq_len=3, **options), model.generate(image, **options))

    def test_texts_may_be_longer_than_the_context(self, model, image, tokens):
        found = model.generate(image, generation_type="top_k", **{**tokens, "seq_len": 20, "min_seq_len": 19})
        assert found.shape == (3, 20)

    def test_training_is_gone_back_to_and_has_no_effect(self, coca, image, tokens):
        model = coca(vision_cfg={"patch_dropout": 0.5})
        expected = model.generate(image, **tokens)
        model.train()
        torch.testing.assert_close(model.generate(image, **tokens), expected)
        assert model.training
        assert model.visual.training

    def test_a_part_that_does_not_train_stays_so(self, model, image, tokens):
        model.train()
        model.visual.eval()
        before = [module.training for module in model.modules()]
        model.generate(image, **tokens)
        assert [module.training for module in model.modules()] == before


class TestBeginnings:
    def test_one_for_all_pictures(self, model, image, tokens):
        for kind in ("top_k", "beam_search"):
            found = model.generate(image, torch.tensor([START, 7, 8]), generation_type=kind, **tokens)
            assert found[:, :3].tolist() == [[START, 7, 8]] * 3

    def test_one_for_each(self, model, image, tokens):
        text = torch.tensor([[START, 5], [START, 6], [START, 7]])
        found = model.generate(image, text, generation_type="top_k", **tokens)
        torch.testing.assert_close(found[:, :2], text)

    def test_of_one_picture_in_the_shape_it_came_in(self, model, image, tokens):
        assert model.generate(image[:1], torch.tensor([START, 7]), generation_type="top_k", **tokens).ndim == 1
        assert model.generate(image[:1], torch.tensor([[START, 7]]), generation_type="top_k", **tokens).ndim == 2

    @pytest.mark.parametrize("shape", [(2, 3), (3, 10), (3, 0), (3, 2, 2)])
    def test_others_are_refused(self, model, image, tokens, shape):
        with pytest.raises(
            InputError, match=rf"shape \[3, L\] or \[L\], L from 1 to 9.*got \[{str(list(shape))[1:-1]}\].*padding"
        ):
            model.generate(image, torch.ones(shape, dtype=torch.long), **tokens)

    @pytest.mark.parametrize(("text", "kind"), [([START, 4], "list"), (torch.tensor([38.0, 4.7]), r"torch\.float32")])
    def test_what_holds_no_ids_is_refused(self, model, image, tokens, text, kind):
        with pytest.raises(InputError, match=rf"expected a tensor of whole numbers, got {kind}\. Nothing"):
            model.generate(image, text, **tokens)

    @pytest.mark.parametrize("wrong", [-1, 40])
    def test_ids_that_the_model_has_not_are_refused(self, model, image, tokens, wrong):
        with pytest.raises(InputError, match=r"ids from .* the model knows 0 to 39.*another model's tokenizer"):
            model.generate(image, torch.tensor([START, wrong]), **tokens)


class TestStopping:
    def test_a_criterion_ends_generation_early(self, model, image, tokens):
        for kind in ("top_k", "beam_search"):
            seen = []

            def long_enough(ids, scores, seen=seen):
                seen.append(ids.shape[1])
                return ids.shape[1] >= 5

            options = {**tokens, "min_seq_len": 8}
            found = model.generate(image, generation_type=kind, stopping_criteria=[long_enough], **options)
            assert seen == [2, 3, 4, 5]
            assert found.shape[1] <= 6

    def test_a_criterion_that_counts_tokens_leaves_no_room_for_an_end(self, model, image, tokens):
        """As transformers' MaxLengthCriteria, whose number open_clip takes over from it."""

        class AtMost:
            max_length = 5

            def __call__(self, ids, _):
                return ids.shape[1] >= self.max_length

        options = {**tokens, "min_seq_len": 8}
        free = model.generate(image, stopping_criteria=[lambda ids, _: ids.shape[1] >= 5], **options)
        found = model.generate(image, stopping_criteria=[AtMost()], **options)
        assert free[:, 5].tolist() == [END] * 3
        torch.testing.assert_close(found, free[:, :5])

    def test_all_texts_must_have_met_one(self, model, image, tokens):
        def some(ids, scores):
            return torch.tensor([True, ids.shape[1] > 3, False])

        def others(ids, scores):
            return torch.tensor([False, False, ids.shape[1] > 4])

        options = {"generation_type": "top_k", **tokens, "min_seq_len": 8}
        assert model.generate(image, stopping_criteria=[some, others], **options).shape == (3, 5)

    @pytest.mark.parametrize("answer", [None, [True, False], torch.ones(7, dtype=torch.bool), "yes"])
    def test_an_answer_that_is_none_is_refused(self, model, image, tokens, answer):
        with pytest.raises(InputError, match=r"criterion answered .*: expected true or false.* the 3 texts .* Nothing"):
            model.generate(image, generation_type="top_k", stopping_criteria=[lambda *_: answer], **tokens)

    def test_an_answer_of_numpy_will_do(self, model, image, tokens):
        options = {"generation_type": "top_k", **tokens, "min_seq_len": 8}
        found = model.generate(image, stopping_criteria=[lambda ids, _: np.bool_(ids.shape[1] > 3)], **options)
        assert found.shape == (3, 4)

    @pytest.mark.parametrize("criteria", [len, [len, 3]])
    def test_what_is_no_list_of_functions_is_refused(self, model, image, tokens, criteria):
        with pytest.raises(InputError, match=r"stopping_criteria=.*: expected a list of functions\. Nothing was"):
            model.generate(image, stopping_criteria=criteria, **tokens)

    def test_several_ids_may_end_a_text(self, model, image, tokens):
        ends = [END, 11, 12, 13]
        for kind in ("top_k", "beam_search"):
            options = {**tokens, "eos_token_id": torch.tensor(ends), "min_seq_len": 2}
            for row in model.generate(image, generation_type=kind, **options).tolist():
                inside = [place for place, token in enumerate(row) if token in ends]
                assert inside or len(row) == options["seq_len"]
                assert not any(row[inside[0] + 1 :] if inside else ())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"generation_type": "topk"},
            r"generation_type='topk' is unknown\. Did you mean top_k.*beam_search, top_p, top_k",
        ),
        ({"seq_len": 3}, r"seq_len=3: expected more than min_seq_len, 3\. Nothing was generated"),
        ({"max_seq_len": 0}, r"max_seq_len=0: expected more than 0"),
        ({"generation_type": "top_k", "temperature": 0.0}, r"temperature=0\.0: expected more than 0, and finite"),
        (
            {"generation_type": "top_p", "temperature": float("inf")},
            r"temperature=inf: expected more than 0, and finite",
        ),
        ({"generation_type": "top_p", "top_p": 1.1}, r"top_p=1\.1: expected from 0 to 1"),
        ({"generation_type": "top_k", "top_k": 0}, r"top_k=0: expected more than 0"),
        ({"generation_type": "top_k", "top_k": 2.0}, r"top_k=2\.0: expected a whole number\. Nothing was generated"),
        ({"generation_type": "top_p", "top_p": "0.5"}, r"top_p='0\.5': expected a number\. Nothing was generated"),
        ({"seq_len": None}, r"seq_len=None: expected a whole number"),
        ({"diversity_penalty": float("inf")}, r"diversity_penalty=inf: expected a finite number"),
        ({"sot_token_id": "38"}, r"sot_token_id='38': expected token ids, which are whole numbers"),
        ({"sot_token_id": [38, 37]}, r"sot_token_id=\[38, 37\]: expected one token id"),
        ({"eos_token_id": 39.0}, r"eos_token_id=39\.0: expected token ids"),
        ({"num_beams": 4}, r"num_beams=4: expected a multiple of num_beam_groups, 3 \(1 makes"),
        ({"repetition_penalty": 0.0}, r"repetition_penalty=0\.0: expected more than 0"),
        ({"sot_token_id": None}, r"sot_token_id is 49406; the model writes ids from 0 to 39.*CLIP's 49406 and 49407"),
        ({"eos_token_id": [END, 40]}, r"eos_token_id is 39, 40; the model writes ids from 0 to 39"),
        ({"eos_token_id": []}, r"eos_token_id is empty"),
        ({"eos_token_id": range(40)}, r"eos_token_id names every id"),
        ({"pad_token_id": -1}, r"pad_token_id is -1"),
    ],
)
def test_options_out_of_range_are_refused(model, image, tokens, options, words):
    with pytest.raises(InputError, match=words):
        model.generate(image, **{**tokens, **options})


def test_options_of_another_generation_type_do_not_count(model, image, tokens):
    sampling = {"generation_type": "top_k", **tokens}
    expected = model.generate(image, **sampling)
    torch.testing.assert_close(model.generate(image, num_beams=1, top_p=None, **sampling), expected)
    beams = model.generate(image, **tokens)
    torch.testing.assert_close(model.generate(image, temperature=0, top_k=0, top_p=None, **tokens), beams)


@pytest.mark.parametrize("kind", ["beam_search", "top_k", "top_p"])
def test_numbers_may_be_of_numpy_or_torch(model, image, kind):
    plain = {"sot_token_id": START, "eos_token_id": END, "seq_len": 9, "min_seq_len": 2, "top_k": 1, "top_p": 0.0}
    given = {
        "sot_token_id": [np.int64(START)], "eos_token_id": np.int64(END), "pad_token_id": torch.tensor(PAD),
        "seq_len": np.int64(9), "min_seq_len": torch.tensor(2), "top_k": np.int32(1), "top_p": np.float32(0),
        "temperature": torch.tensor(2.0), "num_beams": np.int64(6), "num_beam_groups": np.int64(3),
    }  # fmt: skip
    expected = model.generate(image, generation_type=kind, fixed_output_length=True, **plain)
    torch.testing.assert_close(model.generate(image, generation_type=kind, fixed_output_length=True, **given), expected)


def test_no_share_at_all_leaves_the_likeliest(model, image, tokens):
    sampling = {"temperature": 9.0, **tokens}
    torch.testing.assert_close(
        model.generate(image, generation_type="top_p", top_p=0, **sampling),
        model.generate(image, generation_type="top_k", top_k=1, **sampling),
    )


@pytest.mark.parametrize("kind", ["beam_search", "top_k"])
def test_no_pictures_give_no_texts(model, image, tokens, kind):
    assert model.generate(image[:0], generation_type=kind, **tokens).shape == (0, 1)
    found = model.generate(image[:0], generation_type=kind, fixed_output_length=True, **tokens)
    assert (found.shape, found.dtype) == ((0, 10), torch.int64)


def test_a_seed_is_no_generator(model, image, tokens):
    with pytest.raises(
        InputError, match=r"generator=5: expected a torch\.Generator\..*Generator\('cpu'\)\.manual_seed"
    ):
        model.generate(image, generator=5, **tokens)


def test_a_generator_of_another_device_is_refused(model, tokens):
    with pytest.raises(InputError, match=r"generator is on cpu, the pictures are on meta.*Generator\('meta'\)"):
        model.generate(torch.empty(1, 3, 32, 32, device="meta"), generator=torch.Generator(), **tokens)
