"""The CLIP module: an image tower and, at its own top level, the layers of the text tower."""

from __future__ import annotations

from torch import Tensor

from registry_core.towers import ContrastiveModel, TextLayers, check_norms, lock_groups

from .config import ClipConfig


class CLIP(ContrastiveModel, TextLayers):
    """Contrastive language-image pre-training with a native text tower.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020. The parameter names are those of
    https://github.com/openai/CLIP.

    Args:
        config: Config of the model.
        tower: "image" or "text" builds only that tower. None builds both.
    """

    text_stops_early = False  # the feature is always computed from all blocks, as in open_clip

    def __init__(self, config: ClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
        self.add_logit_parameters()

    def text_features(self, text: Tensor) -> Tensor:
        """Encode token ids [N, L] as features [N, E]."""
        return self.encode_tokens(text)[0]

    @property
    def text_pool_type(self) -> str:
        """The way of pooling, which chooses the token that stands for the text. The default is the config's."""
        return self.pool_type

    @text_pool_type.setter
    def text_pool_type(self, pool_type: str) -> None:
        self.pool_type = pool_type

    @property
    def text_eos_id(self) -> int:
        """The id of the token that stands for the text if `text_pool_type` is "eos". The default is the config's."""
        return self.eos_id

    @text_eos_id.setter
    def text_eos_id(self, eos_id: int) -> None:
        self.eos_id = eos_id

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower except its last groups.

        Raises:
            BuildError: The model was created without its text tower.
            InputError: `freeze_layer_norm` is False. The norms are always frozen with their block.
        """
        check_norms(freeze_layer_norm=freeze_layer_norm)
        self.need("text")
        lock_groups(self.text_groups(), unlocked_layers, "unlocked_layers")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        if self.tower != "text":
            self.visual.set_grad_checkpointing(enable)
        if self.tower != "image":
            self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that optimisers leave out of weight decay."""
        visual = self.visual.no_weight_decay() if self.tower != "text" else ()
        return {"positional_embedding", *(f"visual.{name}" for name in visual)}
