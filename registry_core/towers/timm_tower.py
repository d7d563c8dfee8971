"""Image towers of the timm library (Wightman 2019, https://github.com/huggingface/pytorch-image-models).

Parameter names are those of open_clip's published checkpoints: `trunk` is timm's model, `head` what follows it.
"""

from __future__ import annotations

import inspect
import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from registry_core.config import TimmVisionConfig, as_pair
from registry_core.errors import BuildError, InputError
from registry_core.towers.inputs import check_image
from registry_core.towers.intermediates import IntermediateOptions, Outputs, image_intermediates, plain
from registry_core.towers.locking import number_of_groups

if TYPE_CHECKING:
    from types import ModuleType

_Answer = TypeVar("_Answer")
_ATTENTION_POOLS = ("abs_attn", "rot_attn")


class TimmTower(nn.Module):
    """Picture to feature, through a model of timm.

    Args:
        config: which model, and how its features get into the joint space.
        embed_dim: width of the result, E.

    Raises:
        BuildError: timm is not installed, has no such model, or the model no such dropout or picture size.
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
        config = self.config
        rates: dict[str, float] = {}
        if config.timm_drop_path is not None:
            rates["drop_path_rate"] = config.timm_drop_path
        if config.patch_dropout:
            rates["patch_drop_rate"] = config.patch_dropout
        # Without a projection or pool of ours, timm's classifier projects; "none" leaves that out as well.
        own_head = config.timm_proj in {"linear", "mlp"} or config.timm_pool in _ATTENTION_POOLS
        try:
            if not own_head:
                classes = 0 if config.timm_proj == "none" else embed_dim
                return timm.create_model(
                    config.timm_model_name, num_classes=classes, global_pool=config.timm_pool, **rates
                )
            trunk = timm.create_model(config.timm_model_name, **rates)
        except RuntimeError as error:
            raise BuildError(
                f"timm {timm.__version__} cannot make its model {config.timm_model_name!r}: {error}. Nothing was "
                "built. A newer timm may have it: pip install -U timm."
            ) from error
        except TypeError as error:
            if not rates:
                raise
            raise BuildError(
                f"timm's model {config.timm_model_name!r} does not take all of {', '.join(rates)} ({error}). Nothing "
                "was built. Leave patch_dropout, or the config's timm_drop_path, out."
            ) from error
        pools = {"global_pool": "" if config.timm_pool in _ATTENTION_POOLS else config.timm_pool}
        trunk.reset_classifier(0, **(pools if config.timm_pool else {}))
        return trunk

    def _fit_trunk(self) -> None:
        try:
            self.set_input_size(self.image_size)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise BuildError(
                f"timm's model {self.config.timm_model_name!r} cannot take pictures of {list(self.image_size)} pixels: "
                f"{error}. Nothing was built. Give another image_size; not all models take all sizes."
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
        """[N, 3, height, width] -> feature [N, E].

        Raises:
            InputError: pictures that the model does not take; most convolutions take any size.
        """
        feature: Tensor = self.head(self.asked(image, lambda: self.trunk(image)))
        return feature

    def asked(self, image: Tensor, compute: Callable[[], _Answer]) -> _Answer:
        """What the trunk computes of pictures [N, 3, height, width]; its refusals are told apart from other failures.

        Raises:
            InputError: pictures of another shape or size than it takes.
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
        """Make the tower take pictures of another size, where its model has sizes at all; convolutions have none.

        Args:
            image_size: height and width in pixels, or one number for both.

        Raises:
            InputError: no such size, or one smaller than a patch.
        """
        sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
        down, right = as_pair(getattr(getattr(self.trunk, "patch_embed", None), "patch_size", 1))
        try:
            height, width = map(operator.index, sides)
        except (TypeError, ValueError):
            height = width = 0
        if height < down or width < right:
            raise InputError(
                f"image_size={image_size!r}: timm's {self.config.timm_model_name} takes pictures of at least "
                f"{down} x {right} pixels; expected one number for both sides, or height and width. "
                "Nothing was changed."
            )
        if hasattr(self.trunk, "set_input_size"):
            self.trunk.set_input_size((height, width))
        self.image_size = height, width

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the trunk but its last groups, as timm groups its layers; the head stays trainable.

        Args:
            unlocked_groups: how many stay trainable, from the end.
            freeze_bn_stats: batch norms of what is frozen also keep to their running statistics.

        Raises:
            InputError: `unlocked_groups` is no number of groups.
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
        """Trade time for memory in training, where the model can."""
        if hasattr(self.trunk, "set_grad_checkpointing"):
            self.trunk.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay: none are named by open_clip either."""
        return set()


@image_intermediates.register
def _intermediates(tower: TimmTower, image: Tensor, options: IntermediateOptions) -> Outputs:
    method = tower.trunk.forward_intermediates
    extra = options.extra_tokens and "return_prefix_tokens" in inspect.signature(method).parameters
    keywords = {
        "indices": None if options.indices is None else plain(options.indices),
        "norm": options.normalize,
        "stop_early": options.stop_early,
        "output_fmt": options.layout,
        "intermediates_only": options.only,
        **({"return_prefix_tokens": True} if extra else {}),
    }
    try:
        result: Any = tower.asked(image, lambda: method(image, **keywords))
    except (AssertionError, ValueError) as error:  # timm's word on its arguments
        raise InputError(
            f"timm's {tower.config.timm_model_name} does not give these intermediate outputs: {error}. Nothing was "
            "computed."
        ) from error
    found = result if options.only else result[1]
    outputs: Outputs = {"image_intermediates": found}
    if found and isinstance(found[0], tuple):
        outputs["image_intermediates_prefix"] = [prefix for _, prefix in found]
        outputs["image_intermediates"] = [patches for patches, _ in found]
    if options.only:
        return outputs
    try:
        return {**outputs, "image_features": tower.head(tower.trunk.forward_head(result[0]))}
    except RuntimeError as error:
        if not options.stop_early:
            raise
        raise InputError(
            f"The feature of timm's {tower.config.timm_model_name} needs its last stage: leave stop_early out, or ask "
            "for it."
        ) from error


def _timm() -> ModuleType:
    try:
        import timm
        import timm.layers
    except ImportError as error:
        raise BuildError(
            f"This model has an image tower of timm, and {error.name} is not installed. Nothing was built. "
            "Install it: pip install 'registry_core[timm]'."
        ) from error
    module: ModuleType = timm
    return module
