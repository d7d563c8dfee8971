"""Image towers of the timm library (Wightman 2019, https://github.com/huggingface/pytorch-image-models).

Parameter names are those of open_clip's published checkpoints: `trunk` is timm's model, `head` the layers after it.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from registry_core.arguments import whole_number
from registry_core.config.model import TimmVisionConfig, as_pair
from registry_core.errors import BuildError, InputError, missing_library
from registry_core.towers.inputs import check_image
from registry_core.towers.intermediates import IntermediateOptions, Outputs, image_intermediates, plain_indices
from registry_core.towers.locking import number_of_groups

if TYPE_CHECKING:
    from types import ModuleType

_Result = TypeVar("_Result")
_ATTENTION_POOLS = ("abs_attn", "rot_attn")


class TimmTower(nn.Module):
    """A model of timm as image tower: images -> features.

    Args:
        config: Name and options of the model, and how its features are projected into the joint space.
        embed_dim: Width of the result, E.

    Raises:
        BuildError: timm is not installed or lacks the model, or the model does not support a dropout or the image size.
    """

    def __init__(self, config: TimmVisionConfig, embed_dim: int) -> None:
        super().__init__()
        timm = _timm()
        self.config = config
        self.output_dim = embed_dim
        self.image_size = as_pair(config.image_size)
        self.trunk = self._make_trunk(timm, embed_dim)
        native = as_pair(tuple(self.trunk.default_cfg["input_size"])[1:])
        if self.image_size != native:
            self._fit_trunk()
        self.head = nn.Sequential(OrderedDict(self._head_layers(timm, embed_dim)))

    def _make_trunk(self, timm: ModuleType, embed_dim: int) -> Any:
        """Create timm's model, without its classifier if the head of the tower replaces it."""
        config, rates = self.config, self._rates()
        # Otherwise timm's classifier is the projection, or is left out as well with timm_proj "none".
        replaces_classifier = config.timm_proj in {"linear", "mlp"} or config.timm_pool in _ATTENTION_POOLS
        try:
            if not replaces_classifier:
                classes = 0 if config.timm_proj == "none" else embed_dim
                return timm.create_model(
                    config.timm_model_name, num_classes=classes, global_pool=config.timm_pool, **rates
                )
            trunk = timm.create_model(config.timm_model_name, **rates)
        except RuntimeError as error:
            raise BuildError(
                f"timm {timm.__version__} cannot create its model {config.timm_model_name!r}: {error}. Nothing was "
                "built.",
                name=config.timm_model_name,
                found=str(error),
                advice="A newer timm may have it: pip install -U timm.",
            ) from error
        except TypeError as error:
            if not rates:
                raise
            raise BuildError(
                f"timm's model {config.timm_model_name!r} does not accept all of {', '.join(rates)} ({error}). Nothing "
                "was built.",
                name=config.timm_model_name,
                found=tuple(rates),
                advice="Leave out patch_dropout, or the config's timm_drop_path.",
            ) from error
        pools = {"global_pool": "" if config.timm_pool in _ATTENTION_POOLS else config.timm_pool}
        trunk.reset_classifier(0, **(pools if config.timm_pool else {}))
        return trunk

    def _rates(self) -> dict[str, float]:
        """Return the dropout rates that the config sets, by timm's names."""
        rates: dict[str, float] = {}
        if self.config.timm_drop_path is not None:
            rates["drop_path_rate"] = self.config.timm_drop_path
        if self.config.patch_dropout:
            rates["patch_drop_rate"] = self.config.patch_dropout
        return rates

    def _fit_trunk(self) -> None:
        try:
            self.set_input_size(self.image_size)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise BuildError(
                f"timm's model {self.config.timm_model_name!r} does not accept images of {list(self.image_size)} "
                f"pixels: {error}. Nothing was built.",
                name=self.config.timm_model_name,
                argument="image_size",
                found=self.image_size,
                advice="Use another image_size; not every model supports every size.",
            ) from error

    def _head_layers(self, timm: ModuleType, embed_dim: int) -> dict[str, nn.Module]:
        config, width = self.config, self.trunk.num_features
        layers: dict[str, nn.Module] = {}
        if config.timm_pool == "abs_attn":
            grid = self.trunk.default_cfg["pool_size"]
            layers["pool"] = timm.layers.AttentionPool2d(width, feat_size=grid, out_features=embed_dim)
        elif config.timm_pool == "rot_attn":
            layers["pool"] = timm.layers.RotAttentionPool2d(width, out_features=embed_dim)
        if layers:
            width = embed_dim
        if config.timm_proj == "linear":
            layers["drop"] = nn.Dropout(config.timm_drop)
            layers["proj"] = nn.Linear(width, embed_dim, bias=config.timm_proj_bias)
        elif config.timm_proj == "mlp":
            drops, biases = (config.timm_drop, 0.0), (True, config.timm_proj_bias)
            layers["mlp"] = timm.layers.Mlp(width, 2 * embed_dim, embed_dim, drop=drops, bias=biases)
        return layers

    def forward(self, image: Tensor) -> Tensor:
        """Images [N, 3, height, width] -> features [N, E].

        Raises:
            InputError: The model does not accept the images. Most convolutional networks accept any size.
        """
        features: Tensor = self.head(self.run_trunk(image, lambda: self.trunk(image)))
        return features

    def run_trunk(self, image: Tensor, compute: Callable[[], _Result]) -> _Result:
        """Return `compute()`, and explain the failure if the trunk does not accept the images.

        Args:
            image: Images [N, 3, height, width].
            compute: A call of the trunk with these images.

        Raises:
            InputError: The images have another shape or size than the trunk accepts.
        """
        check_image(image, None)
        if torch.compiler.is_compiling():
            return compute()
        try:
            return compute()
        except AssertionError:
            check_image(image, self.image_size)
            raise

    def set_input_size(self, image_size: int | tuple[int, int]) -> None:
        """Make the tower accept images of another size. Convolutional networks accept any size anyway.

        Args:
            image_size: Height and width in pixels, or one number for both.

        Raises:
            InputError: The size is invalid, or smaller than a patch.
        """
        size = _height_and_width(image_size)
        down, right = as_pair(getattr(getattr(self.trunk, "patch_embed", None), "patch_size", 1))
        if size is None or size[0] < down or size[1] < right:
            raise InputError(
                f"image_size={image_size!r}: timm's {self.config.timm_model_name} accepts images of at least "
                f"{down} x {right} pixels; expected one number for both sides, or height and width. Nothing was "
                "changed.",
                name=self.config.timm_model_name,
                argument="image_size",
                expected=(down, right),
                found=image_size,
            )
        if hasattr(self.trunk, "set_input_size"):
            self.trunk.set_input_size(size)
        self.image_size = size

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the trunk except for its last groups, as timm groups its layers. The head stays trainable.

        Args:
            unlocked_groups: Number of groups that stay trainable, from the end.
            freeze_bn_stats: Whether frozen batch norms also use their running statistics in training mode.

        Raises:
            InputError: `unlocked_groups` is not a whole number, or is negative.
        """
        from timm.models import group_parameters
        from timm.utils.model import freeze_batch_norm_2d

        frozen = {name for name, _ in self.trunk.named_parameters()}
        unlocked = number_of_groups(unlocked_groups)
        if unlocked:
            groups = group_parameters(self.trunk, self.trunk.group_matcher())
            last = max(groups) - unlocked
            frozen = {name for group, names in groups.items() if group <= last for name in names}
        for name in frozen:
            self.trunk.get_parameter(name).requires_grad = False
        for name, module in list(self.trunk.named_modules()) if freeze_bn_stats else ():
            own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
            if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)) and own <= frozen:
                self.trunk.set_submodule(name, freeze_batch_norm_2d(module))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time, if the model supports it."""
        if hasattr(self.trunk, "set_grad_checkpointing"):
            self.trunk.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Return no names, as open_clip does; all parameters have weight decay."""
        return set()


@image_intermediates.register
def _intermediates(tower: TimmTower, image: Tensor, options: IntermediateOptions) -> Outputs:
    method = tower.trunk.forward_intermediates
    extra = options.extra_tokens and "return_prefix_tokens" in inspect.signature(method).parameters
    keywords = {
        "indices": None if options.indices is None else plain_indices(options.indices),
        "norm": options.normalize,
        "stop_early": options.stop_early,
        "output_fmt": options.layout,
        "intermediates_only": options.only,
        **({"return_prefix_tokens": True} if extra else {}),
    }
    try:
        result: Any = tower.run_trunk(image, lambda: method(image, **keywords))
    except (AssertionError, ValueError) as error:  # timm refuses an argument
        raise InputError(
            f"timm's {tower.config.timm_model_name} cannot return these intermediate outputs: {error}. Nothing was "
            "computed.",
            name=tower.config.timm_model_name,
            found=str(error),
        ) from error
    selected = result if options.only else result[1]
    outputs: Outputs = {"image_intermediates": selected}
    if selected and isinstance(selected[0], tuple):
        outputs["image_intermediates_prefix"] = [prefix for _, prefix in selected]
        outputs["image_intermediates"] = [patches for patches, _ in selected]
    return outputs if options.only else {**outputs, "image_features": _features(tower, result[0], options)}


def _features(tower: TimmTower, last: Tensor, options: IntermediateOptions) -> Tensor:
    """Return the features of the last block's output."""
    try:
        features: Tensor = tower.head(tower.trunk.forward_head(last))
    except RuntimeError as error:
        if not options.stop_early:
            raise
        raise InputError(
            f"stop_early=True: the feature of timm's {tower.config.timm_model_name} needs the last stage, which was "
            "not selected. Nothing was returned.",
            name=tower.config.timm_model_name,
            argument="stop_early",
            expected=False,
            found=True,
            advice="Leave stop_early out, or select the last stage.",
        ) from error
    return features


def _height_and_width(image_size: object) -> tuple[int, int] | None:
    """Return a size given as two whole numbers or one, or None for anything else."""
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    match [whole_number(side) for side in sides]:
        case [int() as height, int() as width]:
            return height, width
        case _:
            return None


def _timm() -> ModuleType:
    try:
        import timm
        import timm.layers
    except ImportError as error:
        raise missing_library(error, "This model has an image tower of timm", "timm", "Nothing was built.") from error
    module: ModuleType = timm
    return module
