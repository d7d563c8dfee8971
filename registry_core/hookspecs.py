"""The whole contract with plugins.

A plugin is a light module (or object) whose functions carry `@hookimpl` and are named as below; it takes of the
arguments those it needs. Every plugin is asked; where two answer and one must, the caller gets a ConflictError that
names both, unless the name is qualified as `plugin::name`.

A plugin may say `REGISTRY_CORE_API = 2`: the version of this contract that it was written for. Hooks and arguments may
be added here, each time with a new version, never removed or changed; so older plugins keep working. Version 2 added
`build_loss`, `build_aspects` and `public_classes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.aspects import PictureAspects
    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.config import ModelConfig, RawConfig
    from registry_core.factory import Registry
    from registry_core.fetch import Fetcher
    from registry_core.home import Home
    from registry_core.losses.options import LossOptions
    from registry_core.report import LoadReport
    from registry_core.weights import Weights

PROJECT = "registry_core"
API = 2  # the newest version of the contract
OLDEST_API = 1  # the oldest that is still served
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# Listing: cheap, without torch, without a pydantic object per name.


@hookspec
def list_models() -> Mapping[str, RawConfig]:
    """The models that the plugin brings: name -> raw config."""


@hookspec
def list_pretrained() -> Sequence[tuple[str, str]]:
    """The (model, tag) pairs that the plugin brings; the model may be another plugin's."""


@hookspec
def derive_models(base: Mapping[str, RawConfig]) -> Mapping[str, str]:
    """Models made of others: derived name -> base name. A derived model has its base's tags.

    Asked once over all that `list_models` and the user's configs gave, never over derived names.
    """


@hookspec
def describe_models() -> Mapping[str, Mapping[str, str]]:
    """Further columns for the command line's tables: column -> model name -> text. Any plugin's models may be named."""


# Resolving: what a name, a raw config or a tag stands for. None means "not mine".


@hookspec
def resolve_config(name: str, raw: RawConfig | None, registry: Registry, cache_dir: Path | None) -> ModelConfig | None:
    """The config of a model by name (`raw` is None), or the validated form of a raw config that is the plugin's.

    A raw config's `architecture` key decides whose it is; plugins with published formats also know theirs without it.
    A config that is the plugin's but does not validate is a ConfigError, not None. A plugin that must fetch a config
    does so through `registry.services.fetch(weights, cache_dir)`.
    """


@hookspec
def resolve_home(name: str) -> Home | None:
    """The folder or repository that a name stands for, if it is one; asked of the plugin that brought the name.

    Its weights are the model's where the caller gives no `pretrained`, and tokenizer files are looked for there.
    """


@hookspec
def resolve_pretrained(name: str, config: ModelConfig, tag: str, registry: Registry) -> Weights | None:
    """The weights that a tag stands for. Where no plugin answers, the core tries `tag` as a path."""


# Making: asked of the config's owner.


@hookspec
def build_model(config: ModelConfig, tower: str | None, registry: Registry) -> nn.Module:
    """The module, with its parameters initialised. Under the core's builder, values written to them are dropped.

    `tower` "image" or "text" leaves the other tower's parameters out and keeps class and key names.
    """


@hookspec
def convert_state_dict(
    config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor], registry: Registry
) -> Conversion:
    """The checkpoint's tensors under the model's own parameter names and shapes; nothing is read here.

    `trained` is the config before the caller's overrides: what the tensors were shaped for.
    """


@hookspec
def post_load(model: nn.Module, report: LoadReport, registry: Registry) -> nn.Module | None:
    """Finish a loaded model: return None, or a replacement. The owner is asked first, then all others."""


@hookspec
def build_tokenizer(config: ModelConfig, registry: Registry) -> Callable[[str | list[str]], Tensor] | None:
    """From texts to token ids [N, L], int64, where the config alone cannot say it; None leaves it to the core."""


@hookspec
def build_preprocess(config: ModelConfig, train: bool, registry: Registry) -> Callable[[Image], Tensor] | None:
    """From a picture to the image tower's input, where the config alone cannot say it; None leaves it to the core."""


@hookspec
def build_loss(config: ModelConfig, options: LossOptions, registry: Registry) -> nn.Module | None:
    """What training minimises, where it is not the contrastive loss of two towers; None leaves it to the core.

    It is called with the outputs of the model's `forward` as keywords, and with `output_dict=True` returns a dict of
    losses to add up.
    """


@hookspec
def build_aspects(model: nn.Module, registry: Registry) -> PictureAspects | None:
    """What a created model tells of pictures beside their content; None where that is all."""


@hookspec
def public_classes() -> Mapping[str, str]:
    """Classes that programs may import by name: name -> "module:class". Nothing is imported for the answer."""


# Bytes.


@hookspec
def fetchers() -> Mapping[str, Fetcher]:
    """How to bring bytes from further schemes: scheme -> fetcher, a function of a Source and a FetchContext."""
