"""Model configs: validated, immutable data under the keys of the interchange JSON.

base.py       the base class of every config, and the error for a config that does not validate
towers.py     configs of image and text towers
model.py      ModelConfig and PreprocessConfig
overrides.py  the values that a tag states and the caller's overrides, applied to a config
tables.py     the models and tags of a plugin, as JSON Lines
user.py       configs that the user adds: files, mappings and REGISTRY_CORE_CONFIG_PATH
names.py      the parts of a model name

Plugins import the names below.
"""

from registry_core.config.base import Layers, Pair, Positive, StrictModel, TokenId
from registry_core.config.model import OPENAI_MEAN, OPENAI_STD, ModelConfig, PreprocessConfig, RawConfig, merged
from registry_core.config.tables import HUB_FILENAMES, model_table, tag_table, tag_weights
from registry_core.config.towers import (
    ActivationOptions,
    AnyTextConfig,
    AnyVisionConfig,
    HFTextConfig,
    ImageTowerConfig,
    NormOptions,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
    as_pair,
)
from registry_core.config.user import read_raw

__all__ = [
    "HUB_FILENAMES",
    "OPENAI_MEAN",
    "OPENAI_STD",
    "ActivationOptions",
    "AnyTextConfig",
    "AnyVisionConfig",
    "HFTextConfig",
    "ImageTowerConfig",
    "Layers",
    "ModelConfig",
    "NormOptions",
    "Pair",
    "Positive",
    "PreprocessConfig",
    "RawConfig",
    "StrictModel",
    "TextConfig",
    "TextTowerConfig",
    "TimmVisionConfig",
    "TokenId",
    "VisionConfig",
    "as_pair",
    "merged",
    "model_table",
    "read_raw",
    "tag_table",
    "tag_weights",
]
