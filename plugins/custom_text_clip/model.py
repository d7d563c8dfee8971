"""The CustomTextCLIP module: an image tower and a text tower."""

from __future__ import annotations

from torch import Tensor

from registry_core import TextTower
from registry_core.towers import ContrastiveModel, build_text_tower

from .config import CustomTextClipConfig


class CustomTextCLIP(ContrastiveModel):
    """CLIP with a separate text tower.

    The parameter names are those of https://github.com/mlfoundations/open_clip. SigLIP (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343) is this model with a logit bias.

    Args:
        config: Config of the model.
        tower: "image" or "text" builds only that tower. None builds both.

    Attributes:
        text: The text tower, token ids [N, L] -> features [N, E].
    """

    def __init__(self, config: CustomTextClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        self.context_length = config.text_cfg.context_length
        self.vocab_size = config.text_cfg.vocab_size
        if tower != "image":
            self.text = build_text_tower(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
            self.vocab_size = int(self.text.vocab_size)
        self.add_logit_parameters()

    def text_features(self, text: Tensor) -> Tensor:
        """Encode token ids [N, L] as features [N, E]."""
        output: Tensor | tuple[Tensor, Tensor] = self.text(text)
        return output[0] if isinstance(output, tuple) else output

    @property
    def text_side(self) -> TextTower:
        """The text tower."""
        return self.text

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower except its last layers.

        Raises:
            BuildError: The model was created without its text tower.
        """
        self.need("text")
        self.text.lock(unlocked_layers, freeze_layer_norm=freeze_layer_norm)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        if self.tower != "text":
            self.visual.set_grad_checkpointing(enable)
        if self.tower != "image":
            self.text.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that optimisers leave out of weight decay."""
        visual = self.visual.no_weight_decay() if self.tower != "text" else ()
        text = self.text.no_weight_decay() if self.tower != "image" else ()
        return {*(f"visual.{name}" for name in visual), *(f"text.{name}" for name in text)}
