"""The type of a tower config selects the tower."""

from __future__ import annotations

import pytest
from torch import nn

from registry_core import (
    BuildError,
    HFTextConfig,
    ImageTowerConfig,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
)
from registry_core.towers import TextTransformer, VisionTransformer, build_image_tower, build_text_tower
from registry_core.towers.modified_resnet import ModifiedResNet

VIT = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
RESNET = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 32, "patch_size": None}
TEXT = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
ROBERTA = {
    "model_type": "roberta",
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize(("keys", "kind"), [(VIT, VisionTransformer), (RESNET, ModifiedResNet)])
def test_native_image_towers(keys, kind):
    tower = build_image_tower(VisionConfig(**keys), 24, quick_gelu=False)
    assert type(tower) is kind
    assert tower.image_size == (32, 32)


def test_a_native_text_tower():
    tower = build_text_tower(TextConfig(**TEXT), 24, quick_gelu=False)
    assert type(tower) is TextTransformer
    assert tower.vocab_size == 20


def test_an_image_tower_of_timm():
    pytest.importorskip("timm")
    tower = build_image_tower(TimmVisionConfig(timm_model_name="resnet18", image_size=64), 24, quick_gelu=False)
    assert type(tower).__name__ == "TimmTower"
    assert tower.image_size == (64, 64)


def test_a_text_tower_of_transformers():
    pytest.importorskip("transformers")
    shape = {**ROBERTA, "intermediate_size": 16, "max_position_embeddings": 12, "pad_token_id": 1}
    config = HFTextConfig(hf_model_name="mine", hf_model_config=shape, context_length=8)
    tower = build_text_tower(config, 24, quick_gelu=False)
    assert type(tower).__name__ == "HFTextTower"
    assert tower.vocab_size == 20


@pytest.mark.parametrize(
    ("build", "base"), [(build_image_tower, ImageTowerConfig), (build_text_tower, TextTowerConfig)]
)
def test_a_type_of_a_third_party(build, base):
    class OwnConfig(base):
        pass

    class OwnTower(nn.Module):
        def __init__(self, config, embed_dim, *, quick_gelu):
            super().__init__()
            self.config, self.embed_dim, self.quick_gelu = config, embed_dim, quick_gelu

    config = OwnConfig.model_construct()
    expected = r"^No tower is registered for a OwnConfig\. Nothing was built\. The package .* must register its tower"
    with pytest.raises(BuildError, match=expected) as caught:
        build(config, 24, quick_gelu=True)
    assert caught.value.name == "OwnConfig"
    build.register(OwnConfig, OwnTower)
    tower = build(config, 24, quick_gelu=True)
    assert (tower.config, tower.embed_dim, tower.quick_gelu) == (config, 24, True)
