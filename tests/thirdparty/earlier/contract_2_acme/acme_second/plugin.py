"""The hooks of acme_second: all that the registry knows of it. Free of torch until a model is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from registry_core import PictureAspects, hookimpl, model_table, tag_table, tag_weights

from .config import AcmeSecondConfig

if TYPE_CHECKING:
    from torch import nn

    from registry_core import Conversion, LazyTensor, LoadReport, ModelConfig, RawConfig, Weights

REGISTRY_CORE_API = 2  # the version of the hook contract that this is written for

_models = model_table(__package__)
_tags = tag_table(__package__)


@hookimpl
def list_models() -> Mapping[str, RawConfig]:
    return _models()


@hookimpl
def list_pretrained() -> Sequence[tuple[str, str]]:
    return list(_tags())


@hookimpl
def resolve_config(name: str, raw: RawConfig | None) -> ModelConfig | None:
    """A model by name, or a raw config that says it is of this architecture; None for everything else."""
    if raw is not None:
        mine = raw.get("architecture") == AcmeSecondConfig.architecture
        return AcmeSecondConfig.parse(raw, name) if mine else None
    row = _models().get(name)
    return None if row is None else AcmeSecondConfig.parse(row, name)


@hookimpl
def resolve_pretrained(name: str, tag: str) -> Weights | None:
    row = _tags().get((name, tag))
    return None if row is None else tag_weights(tag, row)


@hookimpl
def build_model(config: AcmeSecondConfig, tower: str | None) -> nn.Module:
    from .model import AcmeSecond

    return AcmeSecond(config, tower)


@hookimpl
def convert_state_dict(
    config: AcmeSecondConfig, trained: AcmeSecondConfig, state: Mapping[str, LazyTensor]
) -> Conversion:
    """A plain CLIP's checkpoint, or a whole one."""
    from .convert import convert

    return convert(config, trained, state)


@hookimpl
def post_load(model: nn.Module, report: LoadReport) -> None:
    """Start the adapter where the file held none."""
    from .convert import ADAPTER
    from .model import AcmeSecond

    if isinstance(model, AcmeSecond) and ADAPTER in report.left_to_owner and model.tower != "text":
        model.reset_adapter()


@hookimpl
def build_loss(options):
    options.own("AcmeLoss")
    from registry_core.losses.contrastive import ClipLoss

    return ClipLoss(**options.contrastive())


@hookimpl
def build_aspects(model):
    def features(pictures):
        found = model.encode_image(pictures, normalize=True)
        return {"content": found, "mood": -found}

    return PictureAspects(features, {"mood": ("bright", "dark")})


@hookimpl
def public_classes():
    return {"AcmeSecond": f"{__package__}.model:AcmeSecond"}
