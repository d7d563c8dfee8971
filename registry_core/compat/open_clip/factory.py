"""Creating models, transforms and tokenizers by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from warnings import warn

from registry_core import registry
from registry_core.compat.open_clip.configs import add_model_config, get_model_config, list_models
from registry_core.compat.open_clip.model import set_model_preprocess_cfg
from registry_core.compat.open_clip.pretrained import refuse_tower_weights, weights_argument
from registry_core.compat.open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from registry_core.compat.open_clip.training import create_loss, load_checkpoint
from registry_core.compat.open_clip.transform import AugmentationCfg, augmentation_of, composed, given_keys
from registry_core.tokenizers import huggingface
from registry_core.tokenizers.clip_bpe import ClipTokenizer

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

    Transform = Callable[[Image], Tensor]

Size = int | tuple[int, int]


def create_model(
    model_name: str,
    pretrained: str | os.PathLike[str] | None = None,
    load_weights: bool = True,
    precision: str = "fp32",
    device: str | torch.device | None = "cpu",
    jit: bool = False,
    force_quick_gelu: bool = False,
    force_custom_text: bool = False,
    force_patch_dropout: float | None = None,
    force_image_size: Size | None = None,
    force_preprocess_cfg: Mapping[str, Any] | None = None,
    force_context_length: int | None = None,
    pretrained_image: bool = False,
    pretrained_text: bool = True,
    pretrained_image_path: str | None = None,
    pretrained_text_path: str | None = None,
    cache_dir: str | None = None,
    output_dict: bool | None = None,
    require_pretrained: bool = False,
    weights_only: bool = True,
    **model_kwargs: Any,
) -> nn.Module:
    """Create a model with `registry.create`, in training mode.

    Args:
        model_name: One of `list_models()`, or `hf-hub:org/repo`, or `local-dir:folder`.
        pretrained: A tag or a path. It replaces the weights of an `hf-hub:` or `local-dir:` name.
        load_weights: False creates random weights.
        precision: As for `registry.create`.
        device: Device of the model; None means the CPU.
        jit: Has no effect; True causes a warning.
        force_quick_gelu: Use OpenAI's activation. With False, the weights and the config decide.
        force_custom_text: Use a separate text tower.
        force_patch_dropout: Share of patches that are dropped in training.
        force_image_size: Size of the images; position embeddings are resized.
        force_preprocess_cfg: Keys of PreprocessCfg.
        force_context_length: Length of the texts; position embeddings are resized.
        pretrained_image: timm's weights for the image tower are not fetched, and True is an error.
        pretrained_text: transformers' weights for the text tower are not fetched.
        pretrained_image_path: File with weights for the image tower alone.
        pretrained_text_path: File with weights for the text tower alone.
        cache_dir: Where downloads are kept.
        output_dict: `forward` returns a dict.
        require_pretrained: Raise an error if there are no weights.
        weights_only: Ignored: code from a file is never run.
        **model_kwargs: Further config keys.

    Raises:
        RegistryError: As for `registry.create`, or an argument is not supported.
    """
    del pretrained_text, weights_only
    refuse_tower_weights(pretrained_image, pretrained_image_path)
    model_kwargs.pop("pretrained_hf", None)
    model_kwargs.pop("cast_dtype", None)
    flags = {"quick_gelu": force_quick_gelu or None, "custom_text": force_custom_text or None}
    sizes = {
        "patch_dropout": force_patch_dropout, "image_size": force_image_size, "context_length": force_context_length,
        "preprocess_cfg": given_keys(force_preprocess_cfg),
    }  # fmt: skip
    model = registry.create(
        model_name,
        weights_argument(model_name, pretrained, load=load_weights, required=require_pretrained),
        precision=precision,
        device="cpu" if device is None else str(device),
        image_weights=pretrained_image_path,
        text_weights=pretrained_text_path,
        cache_dir=cache_dir,
        **{key: value for key, value in {**flags, **sizes, **model_kwargs}.items() if value is not None},
    )
    if jit:
        warn("jit=True has no effect: TorchScript is deprecated. Use torch.compile(model).", UserWarning, stacklevel=2)
    if output_dict and hasattr(model, "output_dict"):
        cast("Any", model).output_dict = True  # nn.Module does not declare this attribute of a CLIP
    config = registry.report(model).config
    set_model_preprocess_cfg(model, {**config.preprocess_cfg.model_dump(), "size": config.image_size})
    return model.train()


def create_model_and_transforms(
    model_name: str,
    pretrained: str | None = None,
    load_weights: bool = True,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    jit: bool = False,
    force_quick_gelu: bool = False,
    force_custom_text: bool = False,
    force_patch_dropout: float | None = None,
    force_image_size: Size | None = None,
    force_context_length: int | None = None,
    image_mean: tuple[float, ...] | None = None,
    image_std: tuple[float, ...] | None = None,
    image_interpolation: str | None = None,
    image_resize_mode: str | None = None,
    aug_cfg: Mapping[str, Any] | AugmentationCfg | None = None,
    pretrained_image: bool = False,
    pretrained_text: bool = True,
    pretrained_image_path: str | None = None,
    pretrained_text_path: str | None = None,
    cache_dir: str | None = None,
    output_dict: bool | None = None,
    weights_only: bool = True,
    **model_kwargs: Any,
) -> tuple[nn.Module, Transform, Transform]:
    """Create a model, and its transforms for training and evaluation.

    Args, in addition to those of `create_model`:
        image_mean: Mean of pixel values, instead of that of the weights.
        image_std: Standard deviation of pixel values, instead of that of the weights.
        image_interpolation: Interpolation, instead of that of the weights.
        image_resize_mode: Resize mode in evaluation, instead of that of the weights.
        aug_cfg: The random augmentation in training.

    Raises:
        RegistryError: As for `create_model`, or the `aug_cfg` does not validate or has no effect.
    """
    model = create_model(
        model_name,
        pretrained,
        load_weights,
        precision,
        device,
        jit,
        force_quick_gelu,
        force_custom_text,
        force_patch_dropout,
        force_image_size,
        _preprocessing(image_mean, image_std, image_interpolation, image_resize_mode),
        force_context_length,
        pretrained_image,
        pretrained_text,
        pretrained_image_path,
        pretrained_text_path,
        cache_dir,
        output_dict,
        weights_only=weights_only,
        **model_kwargs,
    )
    augmentation = augmentation_of(aug_cfg) or None
    train = registry.preprocess(model, train=True, augmentation=augmentation)
    return model, composed(train), composed(registry.preprocess(model))


def create_model_from_pretrained(
    model_name: str,
    pretrained: str | None = None,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    jit: bool = False,
    force_quick_gelu: bool = False,
    force_custom_text: bool = False,
    force_image_size: Size | None = None,
    force_context_length: int | None = None,
    image_mean: tuple[float, ...] | None = None,
    image_std: tuple[float, ...] | None = None,
    image_interpolation: str | None = None,
    image_resize_mode: str | None = None,
    return_transform: bool = True,
    cache_dir: str | None = None,
    weights_only: bool = True,
    **model_kwargs: Any,
) -> nn.Module | tuple[nn.Module, Transform]:
    """Create a model with weights, and its transform for evaluation.

    Args, in addition to those of `create_model_and_transforms`:
        return_transform: False returns the model alone.

    Raises:
        RegistryError: As for `create_model`. Without weights it is an UnknownWeightsError.
    """
    model = create_model(
        model_name,
        pretrained,
        precision=precision,
        device=device,
        jit=jit,
        force_quick_gelu=force_quick_gelu,
        force_custom_text=force_custom_text,
        force_image_size=force_image_size,
        force_preprocess_cfg=_preprocessing(image_mean, image_std, image_interpolation, image_resize_mode),
        force_context_length=force_context_length,
        cache_dir=cache_dir,
        require_pretrained=True,
        weights_only=weights_only,
        **model_kwargs,
    )
    return (model, composed(registry.preprocess(model))) if return_transform else model


def get_tokenizer(
    model_name: str = "", context_length: int | None = None, cache_dir: str | None = None, **kwargs: Any
) -> Callable[[str | list[str]], Tensor]:
    """Return the tokenizer of a model, or CLIP's for an empty name.

    Args:
        model_name: As for `create_model`.
        context_length: Length of the rows, instead of that of the config.
        cache_dir: Where tokenizer files of the hub are cached.
        **kwargs: Options of the tokenizer.

    Raises:
        LookupFailedError: The model does not exist.
        OverrideError, ConfigError, BuildError, FetchError: As for `registry.tokenizer`.
    """
    if not model_name:
        return SimpleTokenizer(context_length=context_length or DEFAULT_CONTEXT_LENGTH, **kwargs)
    length = {"context_length": context_length} if context_length is not None else {}
    tokenizer = registry.tokenizer(model_name, cache_dir=cache_dir, **length, **kwargs)
    if type(tokenizer) is huggingface.HFTokenizer:
        return HFTokenizer.of(tokenizer)
    return SimpleTokenizer.of(tokenizer) if type(tokenizer) is ClipTokenizer else tokenizer


def _preprocessing(mean: Any, std: Any, interpolation: Any, resize_mode: Any) -> dict[str, Any]:
    return {"mean": mean, "std": std, "interpolation": interpolation, "resize_mode": resize_mode}


__all__ = [
    "add_model_config",
    "create_loss",
    "create_model",
    "create_model_and_transforms",
    "create_model_from_pretrained",
    "get_model_config",
    "get_tokenizer",
    "list_models",
    "load_checkpoint",
]
