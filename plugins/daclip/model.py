"""The DA-CLIP module.

Luo et al. 2023, "Controlling Vision-Language Models for Multi-Task Image Restoration",
https://arxiv.org/abs/2310.01018; parameter names of https://github.com/Algolzw/daclip-uir.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import BuildError, InputError, ModelConfig
from registry_core.towers.layers import Transformer
from registry_core.towers.vision_transformer import VisionTransformer


class ControlTransformer(nn.Module):
    """A transformer whose every block also gives a control signal, through a linear layer that starts at zero.

    Args:
        transformer: the blocks to run.
    """

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer
        width = transformer.width
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in range(transformer.layers))
        self.reset_zero_modules()

    def reset_zero_modules(self) -> None:
        """Set every control to zero."""
        for parameter in self.zero_modules.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[N, L, C] -> [N, L, C], and a control [N, L, C] per block, the first block's first."""
        controls = []
        for index, zero_module in enumerate(self.zero_modules):
            x = self.transformer.run_block(index, x)
            controls.append(zero_module(x))
        return x, controls


class ControlVisionTransformer(VisionTransformer):
    """The image tower that reads the degradation and controls the other image tower."""

    transformer: ControlTransformer  # type: ignore[assignment]

    def __init__(self, tower: VisionTransformer, *, quick_gelu: bool) -> None:
        super().__init__(tower.config, tower.output_dim, quick_gelu=quick_gelu)
        self.transformer = ControlTransformer(self.transformer)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        """[N, 3, height, width] -> degradation feature [N, E], and the controls, the first block's first."""
        tokens, controls = self.transformer(self.embed(image))
        return self.head(tokens)[0], controls

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.transformer.transformer.grad_checkpointing = enable


class DaCLIP(nn.Module):
    """A CLIP, and a second image tower that tells the picture's degradation and corrects the first.

    Args:
        clip: the base model; its image tower is a VisionTransformer.
        config: the model's config.
        tower: "image" leaves CLIP's text side out, "text" both image towers; None builds all.

    Attributes:
        clip: the base.
        visual: the same module as `clip.visual`.
        visual_control: the control tower.
        logit_scale: of its own, started from the base's.
        output_dict: true; `forward` always returns a dict.

    Raises:
        BuildError: the base's image tower is no VisionTransformer.
    """

    def __init__(self, clip: nn.Module, config: ModelConfig, tower: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = True
        self.clip = clip
        if tower != "text":
            visual = clip.visual
            # A subclass has parameters or inputs that the control tower has not.
            if not isinstance(visual, VisionTransformer) or type(visual) is not VisionTransformer:
                raise BuildError(
                    f"DA-CLIP needs a base whose image tower is a VisionTransformer, got {type(visual).__name__}. "
                    "Nothing was built."
                )
            self.visual = visual
            self.visual_control = ControlVisionTransformer(visual, quick_gelu=config.quick_gelu)
        self.logit_scale = nn.Parameter(torch.empty(()))
        nn.init.constant_(self.logit_scale, config.init_logit_scale)

    def initial_controller(self) -> None:
        """Start the control tower as the image tower's copy with zero controls, and take over the logit scale.

        Right after it, `control=True` changes no image feature.
        """
        with torch.no_grad():
            self.logit_scale.copy_(self.clip.logit_scale.reshape(()))  # type: ignore[operator]
            if self.tower == "text":
                return
            # By name: the two towers have different parameters in a different order.
            own = dict(self.visual_control.named_parameters())
            for name, parameter in self.visual.named_parameters():
                own[_control_name(name)].copy_(parameter)
            self.visual_control.transformer.reset_zero_modules()

    def lock_clip(self) -> None:
        """Freeze the base; the control tower and the logit scale stay trainable."""
        for parameter in self.clip.parameters():
            parameter.requires_grad = False

    def lock_image_tower(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the base's image tower but its last groups; the control tower stays trainable.

        Raises:
            BuildError: the model was created without its image towers.
        """
        self.clip.lock_image_tower(unlocked_groups, freeze_bn_stats)  # type: ignore[operator]

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the base's text side but its last layers.

        Raises:
            BuildError: the model was created without its text side.
        """
        self.clip.lock_text_tower(unlocked_layers, freeze_layer_norm)  # type: ignore[operator]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay: the base's, and those of the control tower.

        The image tower's are there under both of its names.
        """
        names = {f"clip.{name}" for name in self.clip.no_weight_decay()}  # type: ignore[operator]
        if self.tower == "text":
            return names
        towers = {"visual": self.visual, "visual_control": self.visual_control}
        return names | {f"{prefix}.{name}" for prefix, tower in towers.items() for name in tower.no_weight_decay()}

    def encode_image(
        self, image: Tensor, control: bool = False, normalize: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Pictures [N, 3, height, width] -> features [N, E].

        Args:
            image: preprocessed pictures.
            control: let the control tower correct the image tower, and return its own feature too.
            normalize: give features length 1.

        Returns:
            image_features, or with `control` (image_features, degradation_features).

        Raises:
            BuildError: the model was created without its image towers.
            InputError: the pictures have another size.
        """
        if not control:
            features: Tensor = self.clip.encode_image(image, normalize=normalize)  # type: ignore[operator]
            return features
        self._need_image_towers()
        degradation, controls = self.visual_control(image)
        features = self._controlled(image, controls)
        if normalize:
            return F.normalize(features, dim=-1), F.normalize(degradation, dim=-1)
        return features, degradation

    def encode_aspects(self, image: Tensor) -> dict[str, Tensor]:
        """Pictures [N, 3, height, width] -> normalised features [N, E] of their "content" and "degradation"."""
        content, degradation = self.encode_image(image, control=True, normalize=True)
        return {"content": content, "degradation": degradation}

    def _controlled(self, image: Tensor, controls: list[Tensor]) -> Tensor:
        """The image tower's feature [N, E], with the controls added after its blocks, the last one first."""
        tokens = self.visual.embed(image)
        for index, control in enumerate(reversed(controls)):
            tokens = self.visual.transformer.run_block(index, tokens) + control
        return self.visual.head(tokens)[0]

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its text side.
            InputError: the texts are longer than the context.
        """
        features: Tensor = self.clip.encode_text(text, normalize=normalize)  # type: ignore[operator]
        return features

    def forward(self, image: Tensor | None = None, text: Tensor | None = None) -> dict[str, Tensor | None]:
        """Normalised features of pictures, captions and degradations.

        Args:
            image: pictures [N, 3, height, width], or None.
            text: [N, 2L]: the caption's tokens, then the degradation's, each of length L; or None.

        Returns:
            image_features, text_features, image_degra_features, text_degra_features (None where the input is None)
            and logit_scale, already exponentiated.

        Raises:
            InputError: an odd number of tokens.
        """
        outputs: dict[str, Tensor | None] = dict.fromkeys(
            ("image_features", "text_features", "image_degra_features", "text_degra_features")
        )
        if image is not None:
            features, degradation = self.encode_image(image, control=True, normalize=True)
            outputs.update(image_features=features, image_degra_features=degradation)
        if text is not None:
            if text.shape[-1] % 2:
                raise InputError(
                    "DA-CLIP's text holds the caption's and the degradation's tokens side by side, an even number in "
                    f"all, got {list(text.shape)}. Tokenise both to one length and join them along the last dimension."
                )
            caption, degraded = text.chunk(2, dim=-1)
            outputs["text_features"] = self.encode_text(caption, normalize=True)
            outputs["text_degra_features"] = self.encode_text(degraded, normalize=True)
        return {**outputs, "logit_scale": self.logit_scale.exp()}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.clip.set_grad_checkpointing(enable)  # type: ignore[operator]
        if self.tower != "text":
            self.visual_control.set_grad_checkpointing(enable)

    def _need_image_towers(self) -> None:
        if self.tower == "text":
            raise BuildError(
                "This model has no image towers: it was created with tower='text'. Create it without `tower=`, or "
                "with tower='image'."
            )


def _control_name(name: str) -> str:
    """The control tower's name of an image tower's parameter: its blocks lie one module deeper."""
    first, _, rest = name.partition(".")
    return f"transformer.transformer.{rest}" if first == "transformer" else name
