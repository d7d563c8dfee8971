"""Captions, compared with a plain implementation and with recorded ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from registry_core import InputError

PAD, START, END = 0, 38, 39


class TestSampling:
    @pytest.mark.parametrize("how", [
        {"top_k": 1}, {"top_k": 4, "temperature": 1.5}, {"top_k": 40, "temperature": 3.0},
        {"top_p": 0.5}, {"top_p": 0.9, "temperature": 2.0}, {"top_k": 3, "penalty": 1.7}, {"top_k": 40, "least": 1},
        {"top_k": 3, "window": 4, "penalty": 1.7}, {"top_p": 0.9, "window": 2}, {"top_k": 3, "window": 9},
    ])  # fmt: skip
    @torch.no_grad()
    def test_equals_a_plain_implementation(self, model, image, tokens, how, plain_sampling):
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


class TestPublishedFigures:
    """Texts that open_clip 3.3.0 wrote with transformers 4.49, the last series that its `generate` runs with."""

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
    """Each image and each token is computed once."""

    @pytest.fixture
    def seen(self, model):
        """Rows and tokens of the inputs of each part, call by call."""
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

    def test_beams_share_their_image(self, model, image, tokens, seen):
        model.generate(image, num_beams=6, num_beam_groups=3, diversity_penalty=1.0, **{**tokens, "min_seq_len": 9})
        assert seen["visual"] == [(3, 3)]
        assert seen["image keys"] == [(3, 5)]
        assert seen["text"] == seen["decoder"] == [(18, 1)] * 9

    def test_a_prompt_is_read_in_one_step(self, model, image, tokens, seen):
        model.generate(image, torch.tensor([START, 3, 4]), generation_type="top_k", **{**tokens, "min_seq_len": 9})
        assert seen["text"] == [(3, 3)] + [(3, 1)] * 5


class TestMode:
    def test_texts_may_be_longer_than_the_context(self, model, image, tokens):
        found = model.generate(image, generation_type="top_k", **{**tokens, "seq_len": 20, "min_seq_len": 19})
        assert found.shape == (3, 20)

    def test_training_mode_is_restored_and_changes_no_text(self, coca, image, tokens):
        model = coca(vision_cfg={"patch_dropout": 0.5})
        expected = model.generate(image, **tokens)
        model.train()
        torch.testing.assert_close(model.generate(image, **tokens), expected)
        assert model.training
        assert model.visual.training

    def test_a_part_in_evaluation_mode_stays_in_it(self, model, image, tokens):
        model.train()
        model.visual.eval()
        before = [module.training for module in model.modules()]
        model.generate(image, **tokens)
        assert [module.training for module in model.modules()] == before


class TestPrompts:
    def test_one_for_all_images(self, model, image, tokens):
        for kind in ("top_k", "beam_search"):
            found = model.generate(image, torch.tensor([START, 7, 8]), generation_type=kind, **tokens)
            assert found[:, :3].tolist() == [[START, 7, 8]] * 3

    def test_one_for_each(self, model, image, tokens):
        text = torch.tensor([[START, 5], [START, 6], [START, 7]])
        found = model.generate(image, text, generation_type="top_k", **tokens)
        torch.testing.assert_close(found[:, :2], text)

    def test_for_one_image_the_text_has_the_shape_of_its_prompt(self, model, image, tokens):
        assert model.generate(image[:1], torch.tensor([START, 7]), generation_type="top_k", **tokens).ndim == 1
        assert model.generate(image[:1], torch.tensor([[START, 7]]), generation_type="top_k", **tokens).ndim == 2

    @pytest.mark.parametrize("shape", [(2, 3), (3, 10), (3, 0), (3, 2, 2)])
    def test_other_shapes_are_refused(self, model, image, tokens, shape):
        with pytest.raises(InputError) as caught:
            model.generate(image, torch.ones(shape, dtype=torch.long), **tokens)
        assert (caught.value.argument, caught.value.found) == ("text", list(shape))
        assert caught.value.expected == "[3, L] or [L], with L from 1 to 9"

    @pytest.mark.parametrize(("text", "found"), [([START, 4], "list"), (torch.tensor([38.0, 4.7]), "torch.float32")])
    def test_what_holds_no_ids_is_refused(self, model, image, tokens, text, found):
        with pytest.raises(InputError) as caught:
            model.generate(image, text, **tokens)
        assert (caught.value.argument, caught.value.found) == ("text", found)
        assert caught.value.expected == "a tensor of whole numbers"

    @pytest.mark.parametrize(("wrong", "found"), [(-1, (-1, START)), (40, (START, 40))])
    def test_ids_outside_of_the_vocabulary_are_refused(self, model, image, tokens, wrong, found):
        with pytest.raises(InputError) as caught:
            model.generate(image, torch.tensor([START, wrong]), **tokens)
        assert (caught.value.argument, caught.value.found, caught.value.expected) == ("text", found, (0, 39))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                torch.ones(3, 10, dtype=torch.long),
                r"shape \[3, L\] or \[L\], with L from 1 to 9 \(seq_len is 10\), got \[3, 10\]\. Nothing .* padding",
            ),
            (
                [START],
                r"text must hold token ids: expected a tensor of whole numbers, got list\. Nothing was generated",
            ),
            (
                torch.tensor([START, 40]),
                r"holds ids from 38 to 40, but the model knows the ids from 0 to 39\. Nothing was generated\. Check",
            ),
        ],
    )
    def test_the_messages_have_the_facts(self, model, image, tokens, text, message):
        with pytest.raises(InputError, match=message):
            model.generate(image, text, **tokens)


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
        """Like transformers' MaxLengthCriteria, whose maximum open_clip uses."""

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
    def test_an_answer_that_is_not_boolean_is_refused(self, model, image, tokens, answer):
        with pytest.raises(InputError) as caught:
            model.generate(image, generation_type="top_k", stopping_criteria=[lambda *_: answer], **tokens)
        assert caught.value.argument == "stopping_criteria"
        assert caught.value.found is answer
        assert caught.value.expected.endswith("for 3 texts")

    def test_the_message_for_such_an_answer_has_the_facts(self, model, image, tokens):
        message = r"criterion returned 'yes': expected True or False, .* the 3 texts .* Nothing was generated"
        with pytest.raises(InputError, match=message):
            model.generate(image, stopping_criteria=[lambda *_: "yes"], num_beams=1, num_beam_groups=1, **tokens)

    def test_a_boolean_of_numpy_is_an_answer(self, model, image, tokens):
        options = {"generation_type": "top_k", **tokens, "min_seq_len": 8}
        found = model.generate(image, stopping_criteria=[lambda ids, _: np.bool_(ids.shape[1] > 3)], **options)
        assert found.shape == (3, 4)

    @pytest.mark.parametrize("criteria", [len, [len, 3]])
    def test_anything_but_a_list_of_functions_is_refused(self, model, image, tokens, criteria):
        with pytest.raises(InputError) as caught:
            model.generate(image, stopping_criteria=criteria, **tokens)
        assert (caught.value.argument, caught.value.expected) == ("stopping_criteria", "a list of functions")

    def test_several_ids_may_end_a_text(self, model, image, tokens):
        ends = [END, 11, 12, 13]
        for kind in ("top_k", "beam_search"):
            options = {**tokens, "eos_token_id": torch.tensor(ends), "min_seq_len": 2}
            for row in model.generate(image, generation_type=kind, **options).tolist():
                inside = [index for index, token in enumerate(row) if token in ends]
                assert inside or len(row) == options["seq_len"]
                assert not any(row[inside[0] + 1 :] if inside else ())


def test_no_share_at_all_leaves_the_likeliest(model, image, tokens):
    sampling = {"temperature": 9.0, **tokens}
    torch.testing.assert_close(
        model.generate(image, generation_type="top_p", top_p=0, **sampling),
        model.generate(image, generation_type="top_k", top_k=1, **sampling),
    )


@pytest.mark.parametrize("kind", ["beam_search", "top_k"])
def test_no_images_give_no_texts(model, image, tokens, kind):
    assert model.generate(image[:0], generation_type=kind, **tokens).shape == (0, 1)
    found = model.generate(image[:0], generation_type=kind, fixed_output_length=True, **tokens)
    assert (found.shape, found.dtype) == ((0, 10), torch.int64)


def test_a_seed_instead_of_a_generator_is_refused(model, image, tokens):
    message = r"generator=5: expected a torch\.Generator\. Nothing was generated\. .*Generator\('cpu'\)\.manual_seed"
    with pytest.raises(InputError, match=message) as caught:
        model.generate(image, generator=5, **tokens)
    assert (caught.value.argument, caught.value.found) == ("generator", 5)


def test_a_generator_of_another_device_is_refused(model, tokens):
    message = r"generator is on cpu, but the images are on meta\. Nothing was generated\. .*Generator\('meta'\)"
    with pytest.raises(InputError, match=message) as caught:
        model.generate(torch.empty(1, 3, 32, 32, device="meta"), generator=torch.Generator(), **tokens)
    assert (caught.value.argument, caught.value.found.type, caught.value.expected.type) == ("generator", "cpu", "meta")
