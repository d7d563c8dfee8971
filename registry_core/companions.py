"""What goes with a model: transform, tokenizer, loss, report, its way to the disk; all of Registry but creation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.arguments import folder_of, path_of
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

        return tokenizer_of(self, model, folder_of("cache_dir", cache_dir), overrides)

    def loss(
        self,
        model: nn.Module | str,
        *,
        distill: bool = False,
        sigmoid: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        dist_impl: str | None = "bidir",
        **further: Any,
    ) -> nn.Module:
        """What training minimises: `loss(**outputs, output_dict=True)` of the model's outputs is a dict to add up.

        The plugin of the architecture brings it, as those of CoCa and DA-CLIP do. Otherwise it is the sigmoid loss
        where the config has `init_logit_bias`, else the contrastive one.

        Args:
            model: a created model, or a name.
            distill: also learn from a teacher, whose outputs go to the loss as `dist_image_features` and so on.
            sigmoid: take the sigmoid loss, or not, whatever the config has.
            rank: of this process.
            world_size: how many processes train together.
            local_loss: compare only the rows of this process with all others; the sigmoid loss always does.
            gather_with_grad: let gradients flow back into the other processes; the sigmoid loss always does.
            cache_labels: keep the labels of a batch for the next one of the same size.
            dist_impl: how the sigmoid loss exchanges features: "bidir", which None means too, "shift", "reduce" or
                "gather".
            **further: arguments of the architecture's own loss: of CoCa's caption_loss_weight, clip_loss_weight and
                pad_id.

        Raises:
            LookupFailedError: the name leads nowhere.
            OverrideError: an argument that the model's loss has not, or `distill` or `sigmoid` where the plugin brings
                a loss of its own.
            InputError: a rank that is out of range, or a `dist_impl` that there is not.
            PluginError: the plugin failed.
        """
        from registry_core.losses.choose import Wish, loss_of
        from registry_core.losses.options import LossOptions

        exchange = dist_impl or "bidir"
        options = LossOptions(rank, world_size, local_loss, gather_with_grad, cache_labels, exchange, further)
        return loss_of(self, model, options, Wish(distill, sigmoid))

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

    def load(self, model: nn.Module, path: PathLike, *, strict: bool = True) -> LoadReport:
        """Read a checkpoint into a model that `create` made, in place; the formats and checks are those of `create`.

        Parameters and buffers keep their identity, memory, device, dtype and `requires_grad`, so an optimiser that
        holds them goes on. Nothing of the file is mapped. The plugins' last steps run as in `create`: a plain CLIP's
        checkpoint in a DA-CLIP starts its controller anew and locks the base. Where anything fails, the model and its
        report are as before.

        Args:
            model: the one that `create` returned; one with `tower=` reads that tower.
            path: of the checkpoint. Where the model was created for another picture size than its weights, a file of
                either is known by its shapes; position embeddings that fit as they are stay as they are.
            strict: anything missing, unexpected or mis-shaped in the file is an error; otherwise it is left out and
                reported, and what the file lacks keeps its present values.

        Returns:
            The model's report from now on, with what is missing and unexpected.

        Raises:
            RegistryError: no registry's `create` made the model.
            BuildError: it is an empty shell.
            CheckpointError: the file is no checkpoint, unsafe, or another model's.
            PluginError: a plugin failed.
        """
        from registry_core.reload import load_into

        return load_into(self.services, model, self.report(model), path_of("path", path), strict=strict)

    def save(self, model: nn.Module, folder: PathLike) -> Path:
        """Write a model's config, weights (safetensors, each shared tensor once), tokenizer and card into a folder.

        `create("local-dir:folder")` gives the model back. The card, README.md, states what the load report, the config
        and the tensors say; a licence only where that of the weights is known. A README.md that is not as `save` wrote
        it stays as it is, in silence.

        Raises:
            RegistryError: `create` did not make the model.
            BuildError: it is an empty shell, was given other shapes after it was created, or the folder cannot be made.
        """
        from registry_core.checkpoint.save import save_model

        return save_model(self.services, model, self.report(model), path_of("folder", folder))

    def push(
        self,
        model: nn.Module,
        repo: str,
        *,
        revision: str | None = None,
        private: bool = False,
        create_pr: bool = False,
        commit_message: str | None = None,
        token: str | None = None,
    ) -> str:
        """Put what `save` writes onto the Hugging Face hub, as one commit; `create("hf-hub:org/name")` gives it back.

        A card of the repository that a person wrote or changed stays as it is. HF_ENDPOINT and HF_TOKEN hold; mirrors
        do not, since they are for reading. Needs the extra `push`.

        Args:
            model: the one that `create` returned.
            repo: `org/name`; made where it is not there.
            revision: an existing branch, instead of the main one.
            private: of a repository that is made; False leaves that to the organisation, whose default is usually
                public. An existing repository stays as it is.
            create_pr: propose the commit as a pull request instead of making it.
            commit_message: instead of the usual one.
            token: instead of HF_TOKEN or that of a login.

        Returns:
            The URL of the commit, or of the pull request.

        Raises:
            RegistryError: `create` did not make the model.
            OverrideError: `repo` or `revision` cannot be a name on the hub.
            OfflineError: REGISTRY_CORE_OFFLINE or HF_HUB_OFFLINE forbids the network.
            BuildError: huggingface_hub is not installed, or the model is an empty shell.
            FetchError: the hub refuses, or cannot be reached; it says what is on the hub then.
        """
        from registry_core.push import Push, push_model

        push = Push(repo, revision, private, create_pr, commit_message, token)
        return push_model(self.services, model, self.report(model), push)
