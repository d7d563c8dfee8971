"""The whole contract with plugins.

A plugin is a light module (or object) whose functions are marked with `@hookimpl` and named as below. A function takes
only the arguments it needs. Every plugin is called. If two plugins answer where there must be one answer, the caller
gets a ConflictError that names both, unless the name is qualified as `plugin::name`.

A plugin states the version of this contract that it was written for: `REGISTRY_CORE_API = 2`. Hooks and arguments are
only added, each time with a new version, and never removed or changed, so older plugins keep working. Version 2 added
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

    from registry_core.checkpoint.index import Conversion, LazyTensor
    from registry_core.config.model import ModelConfig, RawConfig
    from registry_core.fetch.contract import Fetcher
    from registry_core.fetch.repository import ModelRepository
    from registry_core.fetch.sources import Weights
    from registry_core.losses.options import LossOptions
    from registry_core.protocols import PluginRegistry
    from registry_core.report import LoadReport
    from registry_core.zero_shot.aspects import ImageAspects

PROJECT = "registry_core"
API = 2  # the newest version of the contract
OLDEST_API = 1  # the oldest version that still works
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# Lists: cheap, without torch, without a pydantic object per name.


@hookspec
def list_models() -> Mapping[str, RawConfig]:
    """Return the models of the plugin: name -> raw config."""


@hookspec
def list_pretrained() -> Sequence[tuple[str, str]]:
    """Return the (model, tag) pairs of the plugin. The model may belong to another plugin."""


@hookspec
def derive_models(base: Mapping[str, RawConfig]) -> Mapping[str, str]:
    """Return models made from other models: derived name -> base name. A derived model has the tags of its base.

    Called once, with everything that `list_models` and the user's configs provide. `base` never holds derived names.
    """


@hookspec
def describe_models() -> Mapping[str, Mapping[str, str]]:
    """Return more columns for the tables of the command line: column -> model name -> text, for any model."""


# Resolving a name, a raw config or a tag. None means "not mine".


@hookspec
def resolve_config(
    name: str, raw: RawConfig | None, registry: PluginRegistry, cache_dir: Path | None
) -> ModelConfig | None:
    """Return the config of a model name (if `raw` is None), or validate a raw config that belongs to the plugin.

    The `architecture` key of a raw config names its owner. A plugin with a published config format also recognises its
    configs without that key. A config that belongs to the plugin but does not validate is a ConfigError, not None. A
    plugin that must fetch a config calls `registry.services.fetch(weights, cache_dir)`.
    """


@hookspec
def resolve_home(name: str) -> ModelRepository | None:
    """Return the model repository that a name refers to, if any. Only the plugin that resolved the name is called.

    Its weights are the model's if the caller gives no `pretrained`. Tokenizer files are looked for there.
    """


@hookspec
def resolve_pretrained(name: str, config: ModelConfig, tag: str, registry: PluginRegistry) -> Weights | None:
    """Return the weights of a tag. If no plugin answers, the core tries `tag` as a path."""


# Building and loading. Only the owner of the config is called, except for `post_load`.


@hookspec
def build_model(config: ModelConfig, tower: str | None, registry: PluginRegistry) -> nn.Module:
    """Return the module with initialised parameters. The core drops these values if a checkpoint will replace them.

    `tower` "image" or "text" leaves out the parameters of the other tower and keeps the class and the key names.
    """


@hookspec
def convert_state_dict(
    config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor], registry: PluginRegistry
) -> Conversion:
    """Return the checkpoint's tensors under the model's parameter names and shapes. No tensor is read here.

    `trained` is the config before the caller's overrides: the one that the tensors were shaped for.
    """


@hookspec
def post_load(model: nn.Module, report: LoadReport, registry: PluginRegistry) -> nn.Module | None:
    """Finish a loaded model; return None or a replacement. The owner is called first, then all other plugins."""


@hookspec
def build_tokenizer(config: ModelConfig, registry: PluginRegistry) -> Callable[[str | list[str]], Tensor] | None:
    """Return a function from texts to token ids [N, L], int64. None lets the core build it from the config."""


@hookspec
def build_preprocess(config: ModelConfig, train: bool, registry: PluginRegistry) -> Callable[[Image], Tensor] | None:
    """Return a function from a PIL image to the image tower's input. None lets the core build it from the config."""


@hookspec
def build_loss(config: ModelConfig, options: LossOptions, registry: PluginRegistry) -> nn.Module | None:
    """Return the training loss. None lets the core choose the contrastive or the sigmoid loss of two towers.

    The loss is called with the outputs of the model's `forward` as keyword arguments. With `output_dict=True` it
    returns a dict of losses to add up.
    """


@hookspec
def build_aspects(model: nn.Module, registry: PluginRegistry) -> ImageAspects | None:
    """Return what a created model predicts for images besides their content; None if there is nothing else."""


@hookspec
def public_classes() -> Mapping[str, str]:
    """Return classes that programs may import by name: name -> "module:class". Nothing is imported for the answer."""


# Fetching.


@hookspec
def fetchers() -> Mapping[str, Fetcher]:
    """Return fetchers for more schemes: scheme -> function of a Source and a FetchContext."""
