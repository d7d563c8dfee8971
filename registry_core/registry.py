"""Registry: models by name, and what belongs to them. Each method hands its work to the room it belongs to.

build/create.py is the straight line from a name to a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from registry_core.arguments import PathLike, folder_of, path_of, text_of
from registry_core.build.create import create_model
from registry_core.config.model import ModelConfig
from registry_core.fetch.contract import Progress
from registry_core.hooks.plugin import Plugin
from registry_core.report import report_of
from registry_core.resolve.download import download_weights
from registry_core.resolve.pretrained import tower_files
from registry_core.resolve.services import Services
from registry_core.resolve.user_config import add_user_config

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.diagnose.explain import Explanation
    from registry_core.export.push_to_hub import PushOptions
    from registry_core.preprocess.augmentation import AugmentationConfig
    from registry_core.report import LoadReport
    from registry_core.zero_shot import Classifier, Template


class Registry:
    """Models by name, and what belongs to them.

    Args:
        plugins: Modules or objects to use instead of the installed plugins; None means every installed one.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        self.services = Services(self, plugins)

    def create(
        self,
        name: str,
        pretrained: PathLike | bool | None = None,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        tower: str | None = None,
        strict: bool = True,
        mmap: bool = False,
        weights_of: str | None = None,
        image_weights: PathLike | None = None,
        text_weights: PathLike | None = None,
        cache_dir: PathLike | None = None,
        **overrides: Any,
    ) -> nn.Module:
        """Create a model, in evaluation mode.

        Args:
            name: Model name, as `list_models` returns it; `plugin::name` asks one plugin only.
            pretrained: A tag, or the path of a checkpoint if no tag has that name. None means the weights of the model
                repository (`hf-hub:`, `local-dir:`), else random weights and a warning; False means random weights.
            device: Where the model goes; "meta" gives an empty shell, without weights and without memory.
            precision: fp32, fp16, bf16, pure_fp16, pure_bf16, or an amp variant, as in open_clip.
            tower: "image" or "text" builds and reads that tower only.
            strict: Anything missing, unexpected or misshaped in the checkpoint is an error. Otherwise it is left out,
                filled with random values and reported.
            mmap: Map the user's file instead of reading it: faster, but changing the file then breaks the model.
            weights_of: The tag whose file the path is; the preprocessing and activation of that tag are used.
            image_weights: A checkpoint for the image tower, loaded over what `pretrained` gave: the tower's own state
                dict, or a whole model's. With `strict=False`, what it lacks keeps its values.
            text_weights: The same for the text tower.
            cache_dir: Where downloads are kept, instead of the usual folder.
            **overrides: Config keys: image_size, context_length, quick_gelu, patch_dropout, custom_text,
                init_logit_scale, init_logit_bias, nonscalar_logit_scale, or nested ones in vision_cfg, text_cfg,
                multimodal_cfg, preprocess_cfg.

        Raises:
            UnknownModelError, UnknownWeightsError, ConflictError: A name leads nowhere, or to two answers.
            FetchError: The weights cannot be fetched.
            OverrideError, ConfigError: An argument or a config does not validate.
            CheckpointError: The file is not a checkpoint, is unsafe, or belongs to another model.
            PluginError: A plugin failed.
        """
        files = tower_files(image=image_weights, text=text_weights)
        options: dict[str, Any] = {"precision": precision, "tower": tower, "strict": strict, "mmap": mmap}
        options.update(pretrained=pretrained, weights_of=weights_of, cache_dir=folder_of("cache_dir", cache_dir))
        return create_model(self.services, name, overrides, files, device=str(device), **options)

    def list_models(self, pattern: str = "*") -> list[str]:
        """Return the model names that match a shell pattern. Case is ignored."""
        return self.services.catalog.names(text_of("pattern", pattern))

    def list_pretrained(self, model: str | None = None) -> list[tuple[str, str]]:
        """Return the (model, tag) pairs of all models or of one; UnknownModelError if there is no such model."""
        return self.services.catalog.tags() if model is None else self.services.tags_of(model)

    def config(self, name: str) -> ModelConfig:
        """Return the validated config of a model; UnknownModelError, ConflictError or ConfigError as for `create`."""
        return self.services.resolve(name).config

    def explain(self, name: str, pretrained: PathLike | None = None, **overrides: Any) -> Explanation:
        """Explain where config and weights come from. Nothing is fetched, except the config of an `hf-hub:` name."""
        from registry_core.diagnose.explain import explain

        return explain(self.services, name, pretrained, overrides)

    def download(
        self,
        name: str,
        tag: str | None = None,
        cache_dir: PathLike | None = None,
        *,
        to: PathLike | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Download the file of a tag, or without a tag the weights of a model repository. Returns its path.

        Args:
            name: Model name.
            tag: Tag of the weights.
            cache_dir: Where downloads are kept, instead of the usual folder.
            to: A folder to take to another machine, where it serves as a cache. A file of the cache is copied.
            progress: Called with the file's name, the bytes so far and the bytes in total, or None.
        """
        cache, target = folder_of("cache_dir", cache_dir), None if to is None else path_of("to", to)
        return download_weights(self.services, name, tag, cache, to=target, progress=progress)

    def plugins(self) -> list[Plugin]:
        """Return every plugin that was found, with its distribution, version and error."""
        return self.services.plugins()

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand; PluginError if it does not fit the contract or its name is taken."""
        return self.services.register(plugin, name)

    def add_config(
        self, source: PathLike | Mapping[str, object], name: str | None = None, *, share: bool = False
    ) -> str:
        """Add the user's config as a model, and return its name. Adding a config again changes nothing.

        Args:
            source: A JSON file, whose stem is the name, or a mapping.
            name: Needed with a mapping; replaces the stem of a file.
            share: Put the file on REGISTRY_CORE_CONFIG_PATH, so that processes started from now on know the model.

        Raises:
            TakenNameError: A model of that name exists; it is not replaced.
            ConfigError: The config cannot be read, is invalid or claimed by no plugin, or it cannot be shared.
        """
        return add_user_config(self.services, source, name, share=share)

    def preprocess(
        self,
        model: nn.Module | str,
        pretrained: PathLike | None = None,
        *,
        train: bool = False,
        augmentation: AugmentationConfig | Mapping[str, Any] | None = None,
        **overrides: Any,
    ) -> Callable[[Image], Tensor]:
        """Return the transform from a PIL image to the image tower's input, a float tensor [3, height, width].

        Args:
            model: A created model, or a name.
            pretrained: With a name, the tag whose preprocessing is used.
            train: Return the random transform of training.
            augmentation: What is random in training: keys of AugmentationConfig.
            **overrides: Keys of PreprocessConfig: size, mean, std, interpolation, resize_mode, fill_color.

        Raises:
            OverrideError: An argument does not validate, or has no effect.
        """
        from registry_core.resolve.transform import resolve_transform

        return resolve_transform(self.services, model, pretrained, overrides, train=train, augmentation=augmentation)

    def tokenizer(
        self, model: nn.Module | str, *, cache_dir: PathLike | None = None, **overrides: Any
    ) -> Callable[[str | list[str]], Tensor]:
        """Return the tokenizer: str or list of str -> int64 tensor [N, L]. There is no fallback tokenizer.

        Args:
            model: A created model, or a name.
            cache_dir: Where transformers keeps the files of hub tokenizers.
            **overrides: context_length, hf_tokenizer_name (a folder, or a hub repository), tokenizer_mode, or keys of
                tokenizer_kwargs: clean, reduction_mask, additional_special_tokens, ...

        Raises:
            OverrideError, ConfigError: The tokenizer does not have an option.
            BuildError, FetchError: A library or a file is missing.
        """
        from registry_core.resolve.tokenizer import resolve_tokenizer

        return resolve_tokenizer(self.services, model, folder_of("cache_dir", cache_dir), overrides)

    def loss(
        self, model: nn.Module | str, *, distill: bool = False, sigmoid: bool | None = None, **options: Any
    ) -> nn.Module:
        """Return the training loss: `loss(**outputs, output_dict=True)` of the model's outputs is a dict to add up.

        A plugin may provide it, as those of CoCa and DA-CLIP do. Otherwise it is the sigmoid loss if the config has
        `init_logit_bias`, else the contrastive loss.

        Args:
            model: A created model, or a name.
            distill: Also learn from a teacher, whose outputs are passed as `dist_image_features` and so on.
            sigmoid: Use the sigmoid loss, or not, whatever the config has.
            **options: Fields of LossOptions (rank, world_size, local_loss, gather_with_grad, cache_labels, dist_impl),
                and arguments of the architecture's own loss, such as CoCa's caption_loss_weight.

        Raises:
            OverrideError: The model's loss does not have an argument, or does not support `distill` or `sigmoid`.
            InputError: The rank is out of range, or the `dist_impl` does not exist.
        """
        from registry_core.losses.options import LossOptions
        from registry_core.resolve.loss import resolve_loss

        return resolve_loss(self.services, model, LossOptions.of(options), distill=distill, sigmoid=sigmoid)

    def classifier(
        self,
        model: nn.Module,
        labels: Sequence[str] = (),
        *,
        templates: Sequence[Template] | None = None,
        batch_size: int = 32,
    ) -> Classifier:
        """Return a function from images to the probability of each label. A DA-CLIP also predicts their degradation.

            for result in registry.classifier(model, ["cat", "dog"])(["a.jpg", "b.jpg"]):
                print(result.image, result.best)

        Args:
            model: A created model.
            labels: What the images may show. Empty only if the model predicts something besides the content.
            templates: Prompts with `{}` in place of the label, or functions; None means "a photo of a {}.".
            batch_size: Images that are encoded together.

        Raises:
            InputError, BuildError, PluginError: As for zero_shot.Classifier.
        """
        from registry_core.resolve.classifier import resolve_classifier

        return resolve_classifier(self.services, model, labels, templates=templates, batch_size=batch_size)

    def report(self, model: nn.Module) -> LoadReport:
        """Return what happened when a model was created; RegistryError if no registry's `create` made it."""
        return report_of(model)

    def load(self, model: nn.Module, path: PathLike, *, strict: bool = True) -> LoadReport:
        """Load a checkpoint into a created model, in place. Returns its new report; formats and errors as for `create`.

        Parameters and buffers keep their identity, memory, device and dtype, so an optimiser that holds them keeps
        working. The plugins' `post_load` runs as in `create`: a plain CLIP's checkpoint in a DA-CLIP restarts its
        controller and locks the base. If anything fails, the model and its report are unchanged.

        Args:
            model: The model that `create` returned, not an empty shell; one with `tower=` reads that tower.
            path: The checkpoint. If the model was created for another image size than its weights, a file of either
                size is recognised by its shapes, and position embeddings that fit are not resized.
            strict: Anything missing, unexpected or misshaped in the file is an error. Otherwise it is left out and
                reported, and what the file lacks keeps its values.
        """
        from registry_core.build.reload import load_into

        return load_into(self.services, model, report_of(model), path_of("path", path), strict=strict)

    def save(self, model: nn.Module, folder: PathLike) -> Path:
        """Write config, weights (safetensors), tokenizer and model card; `create("local-dir:folder")` reads it back.

        A README.md that `save` did not write, or that was changed since, stays as it is.

        Raises:
            BuildError: The model is an empty shell, its shapes were changed, or the folder cannot be written.
        """
        from registry_core.export.save import save_model

        return save_model(self.services, model, report_of(model), path_of("folder", folder))

    def push(self, model: nn.Module, repo: str, **options: Unpack[PushOptions]) -> str:
        """Upload what `save` writes to the Hugging Face hub as one commit. Returns the URL of the commit.

        Args:
            model: The model that `create` returned.
            repo: `org/name`; created if it does not exist.
            **options: `revision`, `private`, `create_pr`, `commit_message` and `token`; see PushOptions.

        Raises:
            BuildError: As for `save`, or huggingface_hub (the extra `push`) is not installed.
            OverrideError: `repo` or `revision` cannot be a name on the hub.
            OfflineError, FetchError: The network is forbidden, or the hub refuses or cannot be reached.
        """
        from registry_core.export.push_to_hub import push_model

        return push_model(self.services, model, report_of(model), repo, **options)
