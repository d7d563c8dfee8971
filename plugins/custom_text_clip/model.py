"""The CustomTextCLIP module: two towers side by side."""

from __future__ import annotations

from torch import Tensor, nn

from registry_core.towers.build import build_text_tower
from registry_core.towers.contrastive import ContrastiveModel

from .config import CustomTextClipConfig


class CustomTextCLIP(ContrastiveModel):
    """CLIP whose text side is a tower of its own.

    Parameter names of https://github.com/mlfoundations/open_clip. SigLIP (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343) is this with a logit bias.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.

    Attributes:
        text: the text tower, [N, L] -> [N, E].
    """

    def __init__(self, config: CustomTextClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        self.context_length = config.text_cfg.context_length
        self.vocab_size = config.text_cfg.vocab_size
        if tower != "image":
            self.text = build_text_tower(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
            self.vocab_size = int(self.text.vocab_size)  # type: ignore[arg-type]
        self.add_logit_parameters()

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]."""
        output: Tensor | tuple[Tensor, Tensor] = self.text(text)
        return output[0] if isinstance(output, tuple) else output

    @property
    def text_side(self) -> nn.Module:
        """The text tower."""
        return self.text

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower but its last layers."""
        self.need("text")
        self.text.lock(unlocked_layers, freeze_layer_norm=freeze_layer_norm)  # type: ignore[operator]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        for tower in (getattr(self, "visual", None), getattr(self, "text", None)):
            if tower is not None:
                tower.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        towers = {"visual": getattr(self, "visual", None), "text": getattr(self, "text", None)}
        return {f"{prefix}.{name}" for prefix, tower in towers.items() if tower for name in tower.no_weight_decay()}
