"""Torch modules that several architectures share, and helpers that work on modules. Plugins build models of them.

Parameter and buffer names are those of the published checkpoints.

    protocols.py            what is expected of a tower and of a model with two towers
    build.py                tower config -> tower, by the type of the config
    contrastive.py          base class of models with two towers
    vision_transformer.py   image tower of most models
    modified_resnet.py      image tower of the RN models
    timm_tower.py           image towers of timm
    text_transformer.py     native text tower
    hf_text.py              text towers of transformers
    multimodal_transformer.py   decoder of CoCa
    layers.py               norm, activation, self-attention, residual block, stack of blocks
    cross_attention.py      cross-attention: attentional pooling, and blocks of the decoder
    key_values.py           key-value cache, for texts that are generated token by token
    masks.py                attention masks in the convention of torch.nn.MultiheadAttention
    patch_dropout.py        training on a random subset of the patches
    inputs.py               checks of images and token ids
    intermediates.py        outputs of selected blocks
    locking.py              freezing of towers
    positions.py, fitting.py   position embeddings for another grid or length
    precision.py            what the names of precisions mean
    eval_mode.py            temporary evaluation mode

Plugins use the names below. They are imported on first use, because they import torch.
"""

from typing import TYPE_CHECKING

from registry_core._lazy import lazy_exports

if TYPE_CHECKING:
    from registry_core.towers.build import build_image_tower, build_text_tower
    from registry_core.towers.contrastive import ContrastiveModel, Output
    from registry_core.towers.eval_mode import evaluating
    from registry_core.towers.fitting import (
        fit_image_positions,
        fit_scalars,
        fit_text_positions,
        has_plain_text_layers,
        text_layers_in_tower,
    )
    from registry_core.towers.key_values import Prefix
    from registry_core.towers.layers import BlockOptions, Transformer
    from registry_core.towers.locking import check_norms, lock_groups
    from registry_core.towers.multimodal_transformer import MultimodalTransformer
    from registry_core.towers.protocols import ImageTower, TextTower, Tower, TrainableModel, TwoTowerModel
    from registry_core.towers.text_transformer import TextLayers, TextTransformer
    from registry_core.towers.vision_transformer import VisionTransformer

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BlockOptions": "layers",
        "ContrastiveModel": "contrastive",
        "ImageTower": "protocols",
        "MultimodalTransformer": "multimodal_transformer",
        "Output": "contrastive",
        "Prefix": "key_values",
        "TextLayers": "text_transformer",
        "TextTower": "protocols",
        "TextTransformer": "text_transformer",
        "Tower": "protocols",
        "TrainableModel": "protocols",
        "Transformer": "layers",
        "TwoTowerModel": "protocols",
        "VisionTransformer": "vision_transformer",
        "build_image_tower": "build",
        "build_text_tower": "build",
        "check_norms": "locking",
        "evaluating": "eval_mode",
        "fit_image_positions": "fitting",
        "fit_scalars": "fitting",
        "fit_text_positions": "fitting",
        "has_plain_text_layers": "fitting",
        "lock_groups": "locking",
        "text_layers_in_tower": "fitting",
    },
)

__all__ = [
    "BlockOptions",
    "ContrastiveModel",
    "ImageTower",
    "MultimodalTransformer",
    "Output",
    "Prefix",
    "TextLayers",
    "TextTower",
    "TextTransformer",
    "Tower",
    "TrainableModel",
    "Transformer",
    "TwoTowerModel",
    "VisionTransformer",
    "build_image_tower",
    "build_text_tower",
    "check_norms",
    "evaluating",
    "fit_image_positions",
    "fit_scalars",
    "fit_text_positions",
    "has_plain_text_layers",
    "lock_groups",
    "text_layers_in_tower",
]
