"""A plugin-based registry of CLIP-family vision-language models.

    from registry_core import registry
    model = registry.create("daclip_ViT-B-32", pretrained="weights/daclip_ViT-B-32.pt")

Importing this package does not import torch; creating a model does.

The folders, in the order in which a name becomes a model and the model is saved:

    config -> hooks -> resolve -> fetch -> checkpoint -> build -> export

In addition, towers, preprocess, tokenizers, losses and zero_shot provide a model's parts and uses. diagnose explains
and checks, cli is the command line, compat has open_clip's names, and testing and scaffold are for plugin authors.
"""

import logging
from typing import Any

from registry_core._version import __version__
from registry_core.checkpoint import Conversion, LazyTensor, Rule, relayout
from registry_core.config import (
    ActivationOptions,
    AnyTextConfig,
    AnyVisionConfig,
    HFTextConfig,
    ImageTowerConfig,
    ModelConfig,
    NormOptions,
    PreprocessConfig,
    RawConfig,
    StrictModel,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
    model_table,
    tag_table,
    tag_weights,
)
from registry_core.deprecated import finder as _deprecated
from registry_core.errors import (
    BuildError,
    CheckpointError,
    ConfigError,
    ConflictError,
    FetchError,
    InputError,
    IntegrityError,
    LookupFailedError,
    OfflineError,
    OverrideError,
    PluginError,
    RandomWeightsWarning,
    RegistryError,
    StateDictError,
    TakenNameError,
    UnknownModelError,
    UnknownWeightsError,
    UnsafeCheckpointError,
)
from registry_core.fetch import HubFile, LocalFile, ModelRepository, Source, Url, Weights, local_weights
from registry_core.hookspecs import hookimpl
from registry_core.losses import LossOptions
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.protocols import ImageTower, PluginRegistry, PluginServices, ResolvedModel, TextTower, TwoTowerModel
from registry_core.registry import Registry
from registry_core.report import LoadReport
from registry_core.zero_shot import ImageAspects

logging.getLogger(__name__).addHandler(logging.NullHandler())
_deprecated.install()

registry = Registry()
"""The registry of all installed plugins; they are looked for on first use."""


def __getattr__(name: str) -> Any:
    return _deprecated.renamed(__name__, name)


__all__ = [
    "ActivationOptions",
    "AnyTextConfig",
    "AnyVisionConfig",
    "AugmentationConfig",
    "BuildError",
    "CheckpointError",
    "ConfigError",
    "ConflictError",
    "Conversion",
    "FetchError",
    "HFTextConfig",
    "HubFile",
    "ImageAspects",
    "ImageTower",
    "ImageTowerConfig",
    "InputError",
    "IntegrityError",
    "LazyTensor",
    "LoadReport",
    "LocalFile",
    "LookupFailedError",
    "LossOptions",
    "ModelConfig",
    "ModelRepository",
    "NormOptions",
    "OfflineError",
    "OverrideError",
    "PluginError",
    "PluginRegistry",
    "PluginServices",
    "PreprocessConfig",
    "RandomWeightsWarning",
    "RawConfig",
    "Registry",
    "RegistryError",
    "ResolvedModel",
    "Rule",
    "Source",
    "StateDictError",
    "StrictModel",
    "TakenNameError",
    "TextConfig",
    "TextTower",
    "TextTowerConfig",
    "TimmVisionConfig",
    "TwoTowerModel",
    "UnknownModelError",
    "UnknownWeightsError",
    "UnsafeCheckpointError",
    "Url",
    "VisionConfig",
    "Weights",
    "__version__",
    "hookimpl",
    "local_weights",
    "model_table",
    "registry",
    "relayout",
    "tag_table",
    "tag_weights",
]
