"""A plugin-based registry of CLIP-family vision-language models.

    from registry_core import registry
    model = registry.create("daclip_ViT-B-32", pretrained="weights/daclip_ViT-B-32.pt")

Importing this package imports no torch; creating a model does.
"""

from registry_core.aspects import PictureAspects
from registry_core.checkpoint.index import Conversion, LazyTensor
from registry_core.config import (
    AnyTextConfig,
    AnyVisionConfig,
    HFTextConfig,
    ImageTowerConfig,
    ModelConfig,
    PreprocessConfig,
    RawConfig,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
)
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
from registry_core.factory import Registry
from registry_core.home import Home
from registry_core.hookspecs import hookimpl
from registry_core.losses.options import LossOptions
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.report import LoadReport
from registry_core.tables import model_table, tag_table, tag_weights
from registry_core.weights import HubFile, LocalFile, Source, Url, Weights, local_weights

__version__ = "0.1.0"

registry = Registry()
"""The registry of all installed plugins; they are looked for when it is first asked."""

__all__ = [
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
    "Home",
    "HubFile",
    "ImageTowerConfig",
    "InputError",
    "IntegrityError",
    "LazyTensor",
    "LoadReport",
    "LocalFile",
    "LookupFailedError",
    "LossOptions",
    "ModelConfig",
    "OfflineError",
    "OverrideError",
    "PictureAspects",
    "PluginError",
    "PreprocessConfig",
    "RandomWeightsWarning",
    "RawConfig",
    "Registry",
    "RegistryError",
    "Source",
    "StateDictError",
    "TakenNameError",
    "TextConfig",
    "TextTowerConfig",
    "TimmVisionConfig",
    "UnknownModelError",
    "UnknownWeightsError",
    "UnsafeCheckpointError",
    "Url",
    "VisionConfig",
    "Weights",
    "hookimpl",
    "local_weights",
    "model_table",
    "registry",
    "tag_table",
    "tag_weights",
]
