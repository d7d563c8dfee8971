"""The CLIP module: an image tower and, at its own top level, the layers of the text tower."""

from __future__ import annotations

from torch import Tensor

from registry_core.towers.contrastive import ContrastiveModel
from registry_core.towers.locking import check_norms, lock_groups
from registry_core.towers.text_transformer import TextLayers

from .config import ClipConfig


class CLIP(ContrastiveModel, TextLayers):
    """Contrastive language-image pre-training with a native text tower.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020; parameter names of https://github.com/openai/CLIP.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.
    """

    text_stops_early = False  # so the feature is always that of all blocks, as in open_clip

    def __init__(self, config: ClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
        self.add_logit_parameters()

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]."""
        return self.encode_tokens(text)[0]

    @property
    def text_pool_type(self) -> str:
        """Which token stands for the text; the config's, until it is set."""
        return self.pool_type

    @text_pool_type.setter
    def text_pool_type(self, pool_type: str) -> None:
        self.pool_type = pool_type

    @property
    def text_eos_id(self) -> int:
        """The id whose token that is with `text_pool_type="eos"`; the config's, until it is set."""
        return self.eos_id

    @text_eos_id.setter
    def text_eos_id(self, eos_id: int) -> None:
        self.eos_id = eos_id

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower but its last groups.

        Raises:
            InputError: norms are to stay trainable; they are frozen with their block.
        """
        check_norms(freeze_layer_norm=freeze_layer_norm)
        self.need("text")
        lock_groups(self.text_groups(), unlocked_layers)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        if self.tower != "text":
            self.visual.set_grad_checkpointing(enable)  # type: ignore[operator]
        if self.tower != "image":
            self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        visual = self.visual.no_weight_decay() if self.tower != "text" else ()  # type: ignore[operator]
        return {"positional_embedding", *(f"visual.{name}" for name in visual)}
