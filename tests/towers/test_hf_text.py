"""Text towers of transformers: shapes and inputs. Their features are compared with open_clip's in tests/parity."""

from __future__ import annotations

import sys

import pytest
import torch
from transformers_configs import M2M, MT5, ROBERTA

from registry_core import BuildError, ConfigError, HFTextConfig, InputError
from registry_core.towers.hf_text import SHAPE_KEYS, HFTextTower, known_shapes, shape_of

pytest.importorskip("transformers")


def config(shape=ROBERTA, **keys):
    return HFTextConfig(**{"hf_model_name": "mine", "hf_model_config": shape, "context_length": 16, **keys})


class TestShapes:
    def test_of_well_known_models_are_in_the_table(self):
        assert shape_of(HFTextConfig(hf_model_name="roberta-base")) == known_shapes()["roberta-base"]

    def test_an_unknown_model(self):
        expected = (
            r"^The shape of transformers' model 'robert-base' is unknown, .*Did you mean roberta-base.* Known models: "
            r".*Nothing was built\. Give the shape as text_cfg\.hf_model_config"
        )
        with pytest.raises(ConfigError, match=expected) as caught:
            shape_of(HFTextConfig(hf_model_name="robert-base"))
        assert (caught.value.name, caught.value.suggestions[0]) == ("robert-base", "roberta-base")

    def test_an_unknown_type(self):
        with pytest.raises(ConfigError, match=r"has model_type 'gpt2'; expected one of bert, .*was built\.$") as caught:
            shape_of(config({**ROBERTA, "model_type": "gpt2"}))
        assert caught.value.found == "gpt2"
        assert caught.value.expected == list(SHAPE_KEYS)
        assert list(caught.value.problems) == ["text_cfg.hf_model_config.model_type"]

    def test_a_key_that_describes_no_shape(self):
        expected = (
            r"keys that describe no shape of roberta: auto_map\. Only these keys are passed on .*Remove the other"
        )
        with pytest.raises(ConfigError, match=expected) as caught:
            shape_of(config({**ROBERTA, "auto_map": {"AutoModel": "x.y"}}))
        assert caught.value.found == ["auto_map"]
        assert list(caught.value.problems) == ["text_cfg.hf_model_config.auto_map"]


class TestConstruction:
    def test_widths_that_differ_need_a_projection(self):
        expected = (
            r"^The text tower has width 32 and the joint space has width 24, .*Set text_cfg\.hf_proj_type to 'lin"
        )
        with pytest.raises(ConfigError, match=expected) as caught:
            HFTextTower(config(hf_proj_type=None), 24)
        assert (caught.value.name, caught.value.expected, caught.value.found) == ("text_cfg.hf_proj_type", 24, 32)

    def test_equal_widths_need_none(self):
        assert not list(HFTextTower(config(hf_proj_type=None), 32).proj.parameters())

    def test_the_library_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        expected = (
            r"text tower of transformers, and transformers is not installed\. .*pip install 'registry_core\[hf\]'"
        )
        with pytest.raises(BuildError, match=expected) as caught:
            HFTextTower(config(), 24)
        assert caught.value.name == "transformers"


@pytest.mark.parametrize(
    ("model_type", "longest"), [("roberta", 38), ("xlm-roberta", 38), ("bert", 40), ("mt5", None), ("m2m_100", None)]
)
@torch.no_grad()
def test_texts_that_a_tower_does_not_accept(model_type, longest):
    shape = {"mt5": MT5, "m2m_100": M2M}.get(model_type, {**ROBERTA, "model_type": model_type})
    tower = HFTextTower(config(shape), 24)
    ids = torch.randint(3, 200, (2, longest or 60))
    assert tower(ids).shape == (2, 24)
    for wrong in (ids[0], ids[None], ids[:, :0], *([] if longest is None else [ids.repeat(1, 2)])):
        with pytest.raises(InputError) as caught:
            tower(wrong)
        assert caught.value.found == list(wrong.shape)
        assert caught.value.expected == f"[N, L] with L from 1 {'on' if longest is None else f'to {longest}'}"
    for wrong, found in (("a cat", "str"), (ids.float(), torch.float32)):
        with pytest.raises(InputError) as caught:
            tower(wrong)
        assert (caught.value.argument, caught.value.found) == ("text", found)
    with pytest.raises(InputError) as caught:
        tower(ids + 200)
    assert caught.value.expected == (0, 199)
