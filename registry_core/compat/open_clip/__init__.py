"""open_clip's public names, implemented with the registry.

    from registry_core.compat import open_clip
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained="openai")

Names, signatures and return values are those of open_clip 3.3 (https://github.com/mlfoundations/open_clip), module by
module. The functions call the registry and raise its errors. They also raise an error where open_clip silently
continues after a mistake. docs/from-open_clip.md lists the differences, and the new call for each old one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "3.3.0"
"""The version of open_clip that has these names."""

# Module -> its names, as in open_clip. A name is imported when it is first used.
_MODULES = {
    "coca_model": ("CoCa",),
    "constants": ("OPENAI_DATASET_MEAN", "OPENAI_DATASET_STD"),
    "factory": (
        "create_model", "create_model_and_transforms", "create_model_from_pretrained", "get_tokenizer", "create_loss",
        "list_models", "add_model_config", "get_model_config", "load_checkpoint",
    ),
    "loss": ("ClipLoss", "CoCaLoss", "DistillClipLoss", "SigLipLoss"),
    "model": (
        "CLIP", "CustomTextCLIP", "CLIPTextCfg", "CLIPVisionCfg", "convert_weights_to_fp16", "convert_weights_to_lp",
        "get_cast_dtype", "get_input_dtype", "get_model_preprocess_cfg", "get_model_tokenize_cfg",
        "set_model_preprocess_cfg", "trace_model",
    ),
    "openai": ("list_openai_models", "load_openai_model"),
    "pretrained": (
        "download_pretrained", "download_pretrained_from_url", "get_pretrained_cfg", "get_pretrained_url",
        "is_pretrained_cfg", "list_pretrained", "list_pretrained_models_by_tag", "list_pretrained_tags_by_model",
    ),
    # open_clip's module is called push_to_hf_hub, as its function is. Importing it would replace the function here.
    "hub": ("push_pretrained_to_hf_hub", "push_to_hf_hub"),
    "tokenizer": ("SimpleTokenizer", "decode", "tokenize"),
    "transform": ("AugmentationCfg", "PreprocessCfg", "image_transform"),
    "zero_shot_classifier": ("build_zero_shot_classifier", "build_zero_shot_classifier_legacy"),
    "zero_shot_metadata": ("IMAGENET_CLASSNAMES", "OPENAI_IMAGENET_TEMPLATES", "SIMPLE_IMAGENET_TEMPLATES"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - the names are in the table


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(
            f"{__name__} has no {name!r}. docs/from-open_clip.md lists the names that are left out, and why."
        )
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_MODULE_OF})
