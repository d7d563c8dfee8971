"""What goes with a model: transform, tokenizer, loss, report, its way to the disk; all of Registry but creation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.errors import RegistryError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.classify import Classifier
    from registry_core.preprocess.augmentation import AugmentationConfig
    from registry_core.report import LoadReport
    from registry_core.services import Services
    from registry_core.zero_shot import Template

PathLike = str | os.PathLike[str]


class Companions:
    """The part of a Registry that serves models which are there.

    Args:
        services: asks the plugins.
    """

    def __init__(self, services: Services) -> None:
        self.services = services

    def preprocess(
        self,
        model: nn.Module | str,
        pretrained: PathLike | None = None,
        *,
        train: bool = False,
        augmentation: AugmentationConfig | Mapping[str, Any] | None = None,
        **overrides: Any,
    ) -> Callable[[Image], Tensor]:
        """The function from a picture to the image tower's input: PIL image -> float tensor [3, height, width].

        Args:
            model: a created model, or a name.
            pretrained: with a name, the tag whose preprocessing holds.
            train: the random transform of training.
            augmentation: for training, what is random: keys of AugmentationConfig.
            **overrides: keys of PreprocessConfig: size, mean, std, interpolation, resize_mode, fill_color.

        Raises:
            OverrideError: an argument does not validate, or has no effect.
            LookupFailedError: the name or the tag leads nowhere.
        """
        from registry_core.preprocess.make import Words, transform_of

        return transform_of(self, model, pretrained, Words(train, augmentation, overrides))

    def tokenizer(
        self, model: nn.Module | str, *, cache_dir: PathLike | None = None, **overrides: Any
    ) -> Callable[[str | list[str]], Tensor]:
        """The function from texts to the text tower's input: str or list of str -> int64 tensor [N, L].

        Args:
            model: a created model, or a name.
            cache_dir: where transformers keeps what it fetches for tokenizers of the hub.
            **overrides: context_length, hf_tokenizer_name (a folder, or a repository of the hub), tokenizer_mode, or
                what the config has as tokenizer_kwargs: clean, reduction_mask, additional_special_tokens, ...

        Raises:
            LookupFailedError: the name leads nowhere; there is no tokenizer for want of a better one.
            OverrideError, ConfigError: an option that the tokenizer does not have.
            BuildError, FetchError: libraries or files that are not there.
        """
        from registry_core.tokenizers.make import tokenizer_of

        return tokenizer_of(self, model, None if cache_dir is None else Path(cache_dir), overrides)

    def classifier(
        self,
        model: nn.Module,
        labels: Sequence[str] = (),
        *,
        templates: Sequence[Template] | None = None,
        batch_size: int = 32,
    ) -> Classifier:
        """What tells the probability of each label for pictures; a DA-CLIP also tells their degradation.

            for result in registry.classifier(model, ["cat", "dog"])(["a.jpg", "b.jpg"]):
                print(result.picture, result.best)

        Args:
            model: a created model.
            labels: what the pictures may show; empty only where the model tells of something beside the content.
            templates: prompts with `{}` in the place of the label, or functions; None means "a photo of a {}.".
            batch_size: pictures that are encoded together.

        Raises:
            InputError, BuildError, PluginError: as for Classifier.
        """
        from registry_core.classify import Classifier

        return Classifier(self, model, labels, templates=templates, batch_size=batch_size)

    def report(self, model: nn.Module) -> LoadReport:
        """What happened when a model was created.

        Raises:
            RegistryError: no registry's `create` made it.
        """
        report: LoadReport | None = getattr(model, "registry_report", None)
        if report is None:
            raise RegistryError(
                f"This {type(model).__name__} has no load report: it was not made by registry.create, or is only a "
                "part or wrapper of a model that was. Ask for the report of the model that create() returned."
            )
        return report

    def save(self, model: nn.Module, folder: PathLike) -> Path:
        """Write a model's config and weights (safetensors) into a folder, each shared tensor once.

        Raises:
            RegistryError: `create` did not make the model.
        """
        from registry_core.checkpoint.save import save_model

        return save_model(model, self.report(model), Path(folder).expanduser())
