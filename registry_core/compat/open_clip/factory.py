"""Models, their transforms, tokenizers and losses, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from warnings import warn

from registry_core import OverrideError, UnknownWeightsError, registry
from registry_core.compat.open_clip.configs import add_model_config, get_model_config, list_models
from registry_core.compat.open_clip.model import set_model_preprocess_cfg
from registry_core.compat.open_clip.pretrained import clean_tag, is_pretrained_cfg
from registry_core.compat.open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from registry_core.compat.open_clip.training import create_loss, load_checkpoint
from registry_core.compat.open_clip.transform import AugmentationCfg, augmentation_of, by_channel, composed
from registry_core.names import ModelName
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
    """A model, in training mode, by `registry.create`.

    Args:
        model_name: as `list_models` gives them, or `hf-hub:org/repo`, or `local-dir:folder`.
        pretrained: a tag or a path. For the two schemes it goes before the weights that the name brings itself.
        load_weights: False leaves random values.
        precision: see `registry.create`.
        device: where the model goes; None means the CPU.
        jit: has no effect, and a warning says so.
        force_quick_gelu: OpenAI's activation; False leaves it to the weights and the config.
        force_custom_text: a text tower of its own.
        force_patch_dropout: share of patches that training leaves out.
        force_image_size: position embeddings are resized.
        force_preprocess_cfg: keys of PreprocessCfg.
        force_context_length: likewise.
        pretrained_image: weights of timm's for the image tower alone are not fetched: True is refused.
        pretrained_text: weights of transformers' for the text tower alone are not fetched.
        pretrained_image_path: a file for the image tower alone.
        pretrained_text_path: a file for the text tower alone.
        cache_dir: where downloads are kept.
        output_dict: `forward` returns a dict.
        require_pretrained: without weights it is an error.
        weights_only: not needed: nothing that a file brings is ever run.
        **model_kwargs: further config keys.

    Raises:
        RegistryError: what `registry.create` raises, or an argument that cannot be followed.
    """
    del pretrained_text, weights_only
    _refuse_tower_weights(pretrained_image, pretrained_image_path)
    model_kwargs.pop("pretrained_hf", None)
    model_kwargs.pop("cast_dtype", None)
    flags = {"quick_gelu": force_quick_gelu or None, "custom_text": force_custom_text or None}
    sizes = {
        "patch_dropout": force_patch_dropout, "image_size": force_image_size, "context_length": force_context_length,
        "preprocess_cfg": _stated(force_preprocess_cfg),
    }  # fmt: skip
    model = registry.create(
        model_name,
        _weights(model_name, pretrained, load=load_weights, required=require_pretrained),
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
        model.output_dict = True  # type: ignore[assignment]
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
    """A model and its transforms of training and of evaluation.

    Args, beside those of `create_model`:
        image_mean: of pixel values, instead of the weights' own.
        image_std: likewise.
        image_interpolation: likewise.
        image_resize_mode: likewise, for evaluation.
        aug_cfg: what is random in training.

    Raises:
        RegistryError: what `create_model` raises, or an `aug_cfg` that does not validate or has no effect.
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
    """A model whose weights must be there, and its transform of evaluation.

    Args, beside those of `create_model_and_transforms`:
        return_transform: False returns the model alone.

    Raises:
        RegistryError: what `create_model` raises; no weights are an UnknownWeightsError.
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
    """The tokenizer of a model; an empty name means CLIP's.

    Args:
        model_name: as for `create_model`.
        context_length: instead of the config's.
        cache_dir: of the hub's tokenizer files.
        **kwargs: options of the tokenizer.

    Raises:
        LookupFailedError: there is no such model.
        OverrideError, ConfigError, BuildError, FetchError: see `registry.tokenizer`.
    """
    if not model_name:
        return SimpleTokenizer(context_length=context_length or DEFAULT_CONTEXT_LENGTH, **kwargs)
    said = {"context_length": context_length} if context_length is not None else {}
    tokenizer = registry.tokenizer(model_name, cache_dir=cache_dir, **said, **kwargs)
    if type(tokenizer) is huggingface.HFTokenizer:
        return HFTokenizer.of(tokenizer)
    return SimpleTokenizer.of(tokenizer) if type(tokenizer) is ClipTokenizer else tokenizer


def _weights(
    name: str, pretrained: str | os.PathLike[str] | None, *, load: bool, required: bool
) -> str | os.PathLike[str] | bool | None:
    """What `registry.create` should be told of the weights."""
    if not load:
        return False
    if pretrained:
        if not isinstance(pretrained, str):
            return pretrained
        bare = ModelName.parse(name).name
        return clean_tag(pretrained) if is_pretrained_cfg(bare, pretrained) else pretrained
    if required and registry.services.resolve(name).home is None:
        raise UnknownWeightsError(
            f"{name} must have weights here, and pretrained={pretrained!r} names none. Nothing was built. Give a tag "
            "or a path; create_model makes a model without weights."
        )
    return None


def _refuse_tower_weights(wanted: bool, path: str | None) -> None:
    if wanted and path is None:
        raise OverrideError(
            "pretrained_image=True asks for timm's own weights of the image tower, which are not fetched here. Nothing "
            "was built. Download them, and give their file as pretrained_image_path."
        )


def _stated(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    said = {key: value for key, value in (given or {}).items() if value is not None}
    return {key: by_channel(value) if key in {"mean", "std"} else value for key, value in said.items()} or None


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
