"""Load tensors into a model: what must fit, the error if it does not, and the result of a lenient load."""

from __future__ import annotations

import pytest
import torch

from registry_core import CheckpointError, StateDictError


class TestAStrictLoad:
    def test_groups_what_does_not_fit_into_one_message(self, small, state, save):
        del state["ln_final.weight"]
        for layer in (0, 1):
            del state[f"transformer.resblocks.{layer}.ln_1.weight"]
            state[f"visual.transformer.resblocks.{layer}.extra"] = torch.zeros(2)
        state["head.weight"] = torch.zeros(3)
        state["visual.proj"] = torch.zeros(32, 24)
        path = save(state)
        with pytest.raises(StateDictError) as caught:
            small.create("small", path)
        assert str(caught.value) == (
            f"{path} does not fit small: 58 tensors match, 3 are missing, 3 are unknown, 1 have another shape.\n"
            "  missing from the file: transformer.resblocks.*.ln_1.weight (x2), ln_final.weight\n"
            "  unknown to the model: visual.transformer.resblocks.*.extra (x2), head.weight\n"
            "  of another shape: visual.proj (file [32, 24], model [32, 16])\n"
            "Nothing was loaded. Check whether this is the checkpoint of another model. `strict=False` loads what fits "
            "and reports the rest."
        )
        assert (caught.value.path, caught.value.name) == (path, "small")
        assert caught.value.missing == [
            "transformer.resblocks.0.ln_1.weight", "transformer.resblocks.1.ln_1.weight", "ln_final.weight",
        ]  # fmt: skip
        assert set(caught.value.unexpected) == {
            "visual.transformer.resblocks.0.extra", "visual.transformer.resblocks.1.extra", "head.weight",
        }  # fmt: skip
        assert caught.value.misshaped == {"visual.proj": "file [32, 24], model [32, 16]"}

    def test_counts_every_layer_of_a_group(self, registry, save):
        state = registry.create("tiny", pretrained=False).state_dict()
        lacking = {name: tensor for name, tensor in state.items() if not name.endswith(".mlp.c_fc.bias")}
        with pytest.raises(
            StateDictError, match=r"visual\.transformer\.resblocks\.\*\.mlp\.c_fc\.bias \(x3\)"
        ) as caught:
            registry.create("tiny", save(lacking))
        assert set(caught.value.missing) == state.keys() - lacking.keys()

    def test_names_only_groups_that_are_not_empty(self, small, state, save):
        state["head.weight"] = torch.zeros(3)
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state))
        assert str(caught.value).splitlines()[1:-1] == ["  unknown to the model: head.weight"]

    def test_keeps_a_long_list_readable(self, small, state, save):
        with pytest.raises(StateDictError, match=r"x9 and 20 more\n") as caught:
            small.create("small", save({**state, **{f"x{n}": torch.zeros(1) for n in range(30)}}))
        assert len(caught.value.unexpected) == 30

    @pytest.mark.parametrize(("wanted", "given"), [("tiny", "tiny-rn"), ("tiny-rn", "tiny")])
    def test_refuses_another_architecture(self, registry, save, wanted, given):
        path = save(registry.create(given, pretrained=False).state_dict())
        with pytest.raises(StateDictError) as caught:
            registry.create(wanted, path)
        assert (caught.value.path, caught.value.name) == (path, wanted)
        names = registry.create(wanted, device="meta").state_dict().keys()
        matched = names - {*caught.value.missing, *caught.value.misshaped}
        assert matched == {"logit_scale"}

    def test_refuses_integers_for_floats(self, small, state, save):
        state["visual.proj"] = state["visual.proj"].to(torch.int64)
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state))
        assert caught.value.misshaped == {"visual.proj": "file int64, model float32"}

    def test_refuses_floats_for_integers(self, registry, save):
        state = registry.create("tiny-rn", pretrained=False).state_dict()
        name = "visual.bn1.num_batches_tracked"
        with pytest.raises(StateDictError) as caught:
            registry.create("tiny-rn", save({**state, name: torch.tensor(1.0)}))
        assert caught.value.misshaped == {name: "file float32, model int64"}

    def test_refuses_the_layout_of_another_library(self, small, save):
        foreign = {
            "vision_model.embeddings.patch_embedding.weight": torch.zeros(32, 3, 8, 8),
            "visual_projection.weight": torch.zeros(16, 32),
        }
        with pytest.raises(
            CheckpointError,
            match=r"is in the layout of .*transformers.*expected OpenAI's and open_clip's CLIP layout.*"
            r"Nothing was loaded\. Load it with the library that wrote it, or convert its names"
        ):  # fmt: skip
            small.create("small", save(foreign))


class TestALenientLoad:
    def test_loads_what_fits_and_reports_the_rest(self, small, state, save):
        changed = {name: tensor + 1 for name, tensor in state.items()}
        changed["visual.proj"] = torch.zeros(32, 24)
        changed["head.weight"] = torch.zeros(3)
        del changed["ln_final.weight"], changed["text_projection"]
        model = small.create("small", save(changed), strict=False)
        report = small.report(model)
        assert sorted(report.missing) == ["ln_final.weight", "text_projection"]
        assert report.unexpected == ["head.weight"]
        assert report.misshaped == {"visual.proj": "file [32, 24], model [32, 16]"}
        assert len(report.loaded) == len(state) - 3
        for name in report.loaded:
            assert torch.equal(model.state_dict()[name], changed[name]), name

    def test_gives_the_rest_random_values_of_the_models_own_distribution(self, registry, save):
        wide = {
            "embed_dim": 128,
            "vision_cfg": {"image_size": 64, "layers": 1, "width": 128, "head_width": 32, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 128, "heads": 2, "layers": 1},
        }
        registry.add_config(wide, "wide")
        state = registry.create("wide", pretrained=False).state_dict()
        path = save({"logit_scale": state["logit_scale"]})
        first, second = (registry.create("wide", path, strict=False).state_dict() for _ in range(2))
        deviations = {
            "visual.proj": 128**-0.5,
            "visual.class_embedding": 128**-0.5,
            "visual.positional_embedding": 128**-0.5,
            "token_embedding.weight": 0.02,
            "positional_embedding": 0.01,
            "text_projection": 128**-0.5,
            "transformer.resblocks.0.attn.in_proj_weight": 128**-0.5,
            "transformer.resblocks.0.attn.out_proj.weight": (2 * 128) ** -0.5,
            "transformer.resblocks.0.mlp.c_fc.weight": (2 * 128) ** -0.5,
            "transformer.resblocks.0.mlp.c_proj.weight": (2 * 128) ** -0.5,
            "visual.transformer.resblocks.0.attn.in_proj_weight": (2 / (4 * 128)) ** 0.5,  # Xavier
            "visual.transformer.resblocks.0.mlp.c_fc.weight": (1 / (3 * 128)) ** 0.5,  # torch's own for a Linear
        }
        for name, deviation in deviations.items():
            values = first[name]
            assert abs(values.mean()) < 5 * deviation / values.numel() ** 0.5, name
            assert abs(values.std() / deviation - 1) < 0.25, name
            assert not torch.equal(values, second[name]), name
        for name in state:
            assert torch.isfinite(first[name]).all(), name
            if name.endswith(("ln_1.weight", "ln_final.weight")):
                assert torch.equal(first[name], torch.ones_like(first[name]))
            if name.endswith(("attn.in_proj_bias", "ln_1.bias")):
                assert torch.equal(first[name], torch.zeros_like(first[name]))

    def test_gives_missing_buffers_their_initial_values(self, registry, save):
        state = registry.create("tiny-rn", pretrained=False).state_dict()
        lacking = {name: tensor for name, tensor in state.items() if "running" not in name and "tracked" not in name}
        model = registry.create("tiny-rn", save(lacking), strict=False)
        assert len(registry.report(model).missing) == len(state) - len(lacking) > 10
        for name, tensor in model.named_buffers():
            assert torch.equal(tensor, torch.full_like(tensor, 1 if "var" in name else 0)), name

    def test_still_refuses_a_file_without_one_matching_tensor(self, small, save):
        path = save({"head.weight": torch.zeros(3)})
        with pytest.raises(
            StateDictError, match=r"saved\.pt does not fit small: 0 tensors match, \d+ are missing"
        ) as caught:
            small.create("small", path, strict=False)
        assert (caught.value.path, caught.value.unexpected) == (path, ["head.weight"])
        assert "strict=False" not in str(caught.value)  # it would not help

    @pytest.mark.parametrize("custom_text", [False, True])
    def test_a_bias_that_is_set_to_zero_is_not_a_match(self, small, save, custom_text):
        path = save({"body.weight": torch.zeros(4, 4)})
        with pytest.raises(StateDictError) as caught:
            small.create("small", path, strict=False, init_logit_bias=-10.0, custom_text=custom_text)
        assert caught.value.unexpected == ["body.weight"]
        assert "logit_scale" in caught.value.missing

    def test_under_a_lower_precision(self, small, state, save):
        del state["visual.proj"]
        model = small.create("small", save(state), strict=False, precision="pure_bf16")
        assert model.visual.proj.dtype == torch.bfloat16
        assert torch.isfinite(model.visual.proj).all()
        assert 0.5 < model.visual.proj.float().std() * 32**0.5 < 1.5


class TestAliases:
    """`visual.*` and `clip.visual.*` of a DA-CLIP are one module."""

    @pytest.fixture
    def whole(self, small):
        return {name: tensor.clone() for name, tensor in small.create("daclip_small", False).state_dict().items()}

    @pytest.mark.parametrize("kept", ["visual.", "clip.visual.", ""])
    def test_either_name_is_enough(self, small, whole, save, assert_holds, kept):
        dropped = {"visual.": "clip.visual.", "clip.visual.": "visual.", "": "no such name"}[kept]
        path = save({name: tensor for name, tensor in whole.items() if not name.startswith(dropped)})
        model = small.create("daclip_small", path)
        assert_holds(model, whole)
        assert model.visual is model.clip.visual
        assert small.report(model).missing == []
        assert set(small.report(model).loaded) == whole.keys()

    @pytest.mark.parametrize("strict", [True, False])
    def test_with_different_values_are_refused(self, small, whole, save, strict):
        whole["visual.proj"] = whole["visual.proj"] + 1
        with pytest.raises(
            StateDictError,
            match=r"clip\.visual\.proj and visual\.proj are one parameter of daclip_small, but .*saved\.pt holds "
            r"different values for them\. It is not clear which of the two is meant\. Nothing was loaded\. Remove one",
        ) as caught:
            small.create("daclip_small", save(whole), strict=strict)
        assert caught.value.name == "daclip_small"
        assert caught.value.found == ["clip.visual.proj", "visual.proj"]

    @pytest.mark.parametrize("change", [lambda x: x[:5].clone(), lambda x: x.half(), lambda x: x.T.contiguous()])
    def test_of_another_shape_or_dtype_are_refused(self, small, whole, save, change):
        whole["visual.proj"] = change(whole["visual.proj"])
        with pytest.raises(StateDictError) as caught:
            small.create("daclip_small", save(whole))
        assert caught.value.found == ["clip.visual.proj", "visual.proj"]


class TestDtypes:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("kind", ["torch", "safetensors", "legacy"])
    def test_are_cast_to_the_models_and_noted(self, small, source, write, state, kind, dtype):  # noqa: PLR0917
        model = small.create("small", write(kind, model=source.to(dtype)))
        assert small.report(model).cast == {f"{str(dtype)[6:]} -> float32": len(state)}
        for name, tensor in model.state_dict().items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, state[name].to(dtype).float()), name

    def test_that_are_equal_are_not_noted(self, small, write):
        assert small.report(small.create("small", write("torch"))).cast == {}

    def test_mixed_as_openai_published_them(self, small, state, save):
        mixed = {name: tensor.half() if tensor.dim() == 2 else tensor for name, tensor in state.items()}
        report = small.report(small.create("small", save(mixed)))
        assert report.cast == {"float16 -> float32": sum(tensor.dim() == 2 for tensor in state.values())}
        assert "float16 -> float32" in str(report)


class TestScalars:
    @pytest.mark.parametrize("held", [(), (1,)])
    @pytest.mark.parametrize("nonscalar", [False, True])
    @pytest.mark.parametrize("kind", ["torch", "safetensors", "legacy"])
    def test_logit_scale_of_either_shape(self, small, source, write, kind, held, nonscalar):  # noqa: PLR0917
        source.logit_scale = torch.nn.Parameter(torch.full(held, 3.25))
        model = small.create("small", write(kind), nonscalar_logit_scale=nonscalar)
        wanted = (1,) if nonscalar else ()
        assert model.logit_scale.shape == wanted
        assert model.logit_scale.item() == 3.25
        adapted = small.report(model).adapted.get("logit_scale")
        assert adapted == (None if held == wanted else f"shape {list(held)} -> {list(wanted)}")

    def test_more_than_one_logit_scale_is_refused(self, small, state, save):
        state["logit_scale"] = torch.ones(2)
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state))
        assert caught.value.misshaped == {"logit_scale": "file [2], model []"}

    @pytest.mark.parametrize("nonscalar", [False, True])
    def test_a_logit_bias_that_the_file_lacks_is_zero(self, small, write, inputs, nonscalar):
        plain = small.create("small", write("torch"))
        model = small.create("small", write("torch"), init_logit_bias=-10.0, nonscalar_logit_scale=nonscalar)
        assert torch.equal(model.logit_bias, torch.zeros((1,) if nonscalar else ()))
        assert small.report(model).adapted["logit_bias"] == "not in the file, set to 0"
        with torch.no_grad():
            assert torch.equal(model.get_logits(*inputs)[0], plain.get_logits(*inputs)[0])

    def test_a_logit_bias_that_the_file_holds_is_used(self, small, state, save):
        state["logit_bias"] = torch.tensor([-7.5])
        model = small.create("small", save(state), init_logit_bias=-10.0)
        assert model.logit_bias.item() == -7.5

    def test_a_logit_bias_that_the_model_lacks_is_unknown(self, small, state, save):
        state["logit_bias"] = torch.tensor(-7.5)
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state))
        assert caught.value.unexpected == ["logit_bias"]


class TestOneTower:
    @pytest.mark.parametrize("tower", ["image", "text"])
    @pytest.mark.parametrize("kind", ["torch", "safetensors", "legacy", "training", "script"])
    def test_reads_its_own_tensors_and_ignores_the_other_tower(self, small, write, state, tower, kind):
        model = small.create("small", write(kind), tower=tower)
        found = model.state_dict()
        assert {name.startswith("visual.") for name in found if name != "logit_scale"} == {tower == "image"}
        assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())
        assert small.report(model).unexpected == []

    def test_is_strict_about_its_own_and_unknown_tensors(self, small, state, save):
        del state["visual.proj"]
        assert small.create("small", save(state), tower="text")
        with pytest.raises(StateDictError) as caught:
            small.create("small", save(state), tower="image")
        assert caught.value.missing == ["visual.proj"]
        with pytest.raises(StateDictError) as caught:
            small.create("small", save({**state, "head": torch.zeros(1)}), tower="text")
        assert (caught.value.missing, caught.value.unexpected) == ([], ["head"])
