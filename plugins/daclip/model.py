"""The DA-CLIP module.

Luo et al. 2023, "Controlling Vision-Language Models for Multi-Task Image Restoration",
https://arxiv.org/abs/2310.01018. The parameter names are those of https://github.com/Algolzw/daclip-uir.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import BuildError, InputError, ModelConfig
from registry_core.towers import TrainableModel, Transformer, VisionTransformer


class ControlTransformer(nn.Module):
    """A transformer with a control signal from each block, through a linear layer whose initial values are zero.

    Args:
        transformer: The blocks.
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
        """Return the output [N, L, C] for tokens [N, L, C], and a control [N, L, C] from each block, first to last."""
        controls = []
        for index, zero_module in enumerate(self.zero_modules):
            x = self.transformer.run_block(index, x)
            controls.append(zero_module(x))
        return x, controls


class ControlVisionTransformer(VisionTransformer):
    """The image tower that encodes the degradation and controls the other image tower.

    Args:
        tower: The image tower to control. Its config is used; its parameters are not.
        quick_gelu: Use OpenAI's activation.
    """

    def __init__(self, tower: VisionTransformer, *, quick_gelu: bool) -> None:
        super().__init__(tower.config, tower.output_dim, quick_gelu=quick_gelu)
        # The published parameter names have the blocks inside of `transformer`.
        self.add_module("transformer", ControlTransformer(self.transformer))

    @property
    def control_transformer(self) -> ControlTransformer:
        """The blocks with their controls; the module `transformer`."""
        return cast("ControlTransformer", self.transformer)  # replaced in __init__

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override] # returns the controls too
        """Return the degradation feature [N, E] of images [N, 3, height, width], and the controls, first to last."""
        tokens, controls = self.control_transformer(self.embed(image))
        return self.head(tokens)[0], controls

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        self.control_transformer.transformer.grad_checkpointing = enable


class DaCLIP(nn.Module):
    """A CLIP, and a second image tower that encodes the degradation of an image and corrects the first tower.

    Args:
        clip: The base model. Its image tower must be a VisionTransformer.
        config: Config of the model.
        tower: "image" leaves out CLIP's text side, "text" leaves out both image towers. None builds everything.

    Attributes:
        clip: The base model.
        visual: The same module as `clip.visual`.
        visual_control: The control tower.
        logit_scale: A logit scale of this model. Its initial value is the base's.
        output_dict: Always True: `forward` returns a dict.

    Raises:
        BuildError: The base's image tower is not a VisionTransformer.
    """

    def __init__(self, clip: nn.Module, config: ModelConfig, tower: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = True
        self.clip = cast("TrainableModel", clip)  # its config describes two towers
        if tower != "text":
            visual = self.clip.visual
            # A subclass has parameters or inputs that the control tower lacks.
            if not isinstance(visual, VisionTransformer) or type(visual) is not VisionTransformer:
                raise BuildError(
                    "DA-CLIP needs a base model whose image tower is a VisionTransformer, got "
                    f"{type(visual).__name__}. Nothing was built.",
                    argument="clip",
                    expected="VisionTransformer",
                    found=type(visual).__name__,
                )
            self.visual = visual
            self.visual_control = ControlVisionTransformer(visual, quick_gelu=config.quick_gelu)
        self.logit_scale = nn.Parameter(torch.empty(()))
        nn.init.constant_(self.logit_scale, config.init_logit_scale)

    def initial_controller(self) -> None:
        """Initialise the control tower as a copy of the image tower with zero controls, and copy the logit scale.

        Directly afterwards, `control=True` changes no image feature.
        """
        with torch.no_grad():
            self.logit_scale.copy_(self.clip.logit_scale.reshape(()))
            if self.tower == "text":
                return
            # Copied by name, because the two towers differ in the number and order of their parameters.
            own = dict(self.visual_control.named_parameters())
            for name, parameter in self.visual.named_parameters():
                own[_control_name(name)].copy_(parameter)
            self.visual_control.control_transformer.reset_zero_modules()

    def lock_clip(self) -> None:
        """Freeze the base model. The control tower and the logit scale stay trainable."""
        for parameter in self.clip.parameters():
            parameter.requires_grad = False

    def lock_image_tower(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the base's image tower except its last groups. The control tower stays trainable.

        Raises:
            BuildError: The model was created without its image towers.
        """
        self.clip.lock_image_tower(unlocked_groups, freeze_bn_stats)

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the base's text side except its last layers.

        Raises:
            BuildError: The model was created without its text side.
        """
        self.clip.lock_text_tower(unlocked_layers, freeze_layer_norm)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that optimisers leave out of weight decay, in the base and the control tower.

        Those of the image tower are returned under both of its names.
        """
        names = {f"clip.{name}" for name in self.clip.no_weight_decay()}
        if self.tower == "text":
            return names
        towers = {"visual": self.visual, "visual_control": self.visual_control}
        return names | {f"{prefix}.{name}" for prefix, tower in towers.items() for name in tower.no_weight_decay()}

    def encode_image(
        self, image: Tensor, control: bool = False, normalize: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Encode images [N, 3, height, width] as features [N, E].

        Args:
            image: Preprocessed images.
            control: Let the control tower correct the image tower, and return the feature of the control tower too.
            normalize: Scale features to length 1.

        Returns:
            image_features, or with `control` (image_features, degradation_features).

        Raises:
            BuildError: The model was created without its image towers.
            InputError: The images have another size.
        """
        if not control:
            return self.clip.encode_image(image, normalize=normalize)
        self._need_image_towers()
        degradation, controls = self.visual_control(image)
        features = self._controlled(image, controls)
        if normalize:
            return F.normalize(features, dim=-1), F.normalize(degradation, dim=-1)
        return features, degradation

    def encode_aspects(self, image: Tensor) -> dict[str, Tensor]:
        """Encode images [N, 3, height, width] as normalised features [N, E] of "content" and "degradation"."""
        content, degradation = self.encode_image(image, control=True, normalize=True)
        return {"content": content, "degradation": degradation}

    def _controlled(self, image: Tensor, controls: list[Tensor]) -> Tensor:
        """Return the image tower's feature [N, E]. The last control is added after the first block, and so on."""
        tokens = self.visual.embed(image)
        for index, control in enumerate(reversed(controls)):
            tokens = self.visual.transformer.run_block(index, tokens) + control
        return self.visual.head(tokens)[0]

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Encode token ids [N, L], int64, as features [N, E]. With `normalize` they have length 1.

        Raises:
            BuildError: The model was created without its text side.
            InputError: The texts are longer than the context.
        """
        return self.clip.encode_text(text, normalize=normalize)

    def forward(self, image: Tensor | None = None, text: Tensor | None = None) -> dict[str, Tensor | None]:
        """Compute normalised features of images, captions and degradations.

        Args:
            image: Images [N, 3, height, width], or None.
            text: Token ids [N, 2L], or None: L tokens of the caption, then L tokens of the degradation.

        Returns:
            image_features, text_features, image_degra_features, text_degra_features (None where the input is None),
            and logit_scale, already exponentiated.

        Raises:
            BuildError: The model was created without a tower that this call needs.
            InputError: The number of tokens is odd, or an input has a wrong shape.
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
                    "DA-CLIP's text holds the tokens of the caption, then those of the degradation: expected an even "
                    f"number of tokens, got shape {list(text.shape)}. Nothing was returned.",
                    argument="text",
                    expected="an even number of tokens",
                    found=list(text.shape),
                    advice="Tokenise both to the same length, and join them along the last dimension.",
                )
            caption, degraded = text.chunk(2, dim=-1)
            outputs["text_features"] = self.encode_text(caption, normalize=True)
            outputs["text_degra_features"] = self.encode_text(degraded, normalize=True)
        return {**outputs, "logit_scale": self.logit_scale.exp()}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        self.clip.set_grad_checkpointing(enable)
        if self.tower != "text":
            self.visual_control.set_grad_checkpointing(enable)

    def _need_image_towers(self) -> None:
        if self.tower == "text":
            raise BuildError(
                "This model has no image towers: it was created with tower='text'.",
                tower="image",
                argument="tower",
                found=self.tower,
                advice="Create it without `tower=`, or with tower='image'.",
            )


def _control_name(name: str) -> str:
    """Return the control tower's name of an image tower's parameter. Its blocks are one module deeper."""
    first, _, rest = name.partition(".")
    return f"transformer.transformer.{rest}" if first == "transformer" else name
