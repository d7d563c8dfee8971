"""The config of CoCa, and which raw configs are its own."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny

from registry_core import AnyTextConfig, ConfigError, ModelConfig, RawConfig, VisionConfig
from registry_core.strict import Positive, StrictModel


class MultimodalConfig(StrictModel):
    """The text decoder.

    Attributes:
        width: of the decoder, and so of the tokens of both towers.
        context_length, vocab_size, dim_head, n_queries, attn_pooler_heads: accepted since published configs carry
            them; the towers' own count.
    """

    width: Positive = 512
    heads: Positive = 8
    layers: Positive = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    ls_init_value: float | None = None
    context_length: Positive = 77
    vocab_size: Positive = 49408
    dim_head: Positive = 64
    n_queries: Positive = 256
    attn_pooler_heads: Positive = 8


class CocaConfig(ModelConfig):
    """Two towers that give their tokens too, and a decoder over both.

    Attributes:
        multimodal_cfg: the decoder.
        pad_id: the token id that `generate` fills up texts with.
    """

    architecture: ClassVar[str] = "coca"

    vision_cfg: SerializeAsAny[VisionConfig]
    text_cfg: AnyTextConfig
    multimodal_cfg: MultimodalConfig
    custom_text: Literal[True] = True
    pad_id: int = Field(default=0, ge=0)

    @classmethod
    def parse(cls, raw: RawConfig, origin: str) -> Self:
        """Validate a raw config, and that its three parts fit each other.

        Raises:
            ConfigError: an unknown key, a missing one, a value of the wrong type, or a tower that the decoder cannot
                follow.
        """
        config = super().parse(raw, origin)
        problems = _misfits(config)
        if problems:
            lines = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigError(
                f"The config of {origin} is none of a CoCa:\n{lines}\nNothing was built. Correct the keys named above."
            )
        return config


def claims(raw: RawConfig) -> bool:
    """Whether a raw config is a CoCa: it says so, or has a decoder."""
    if "architecture" in raw:
        return bool(raw["architecture"] == CocaConfig.architecture)
    return bool(raw.get("multimodal_cfg"))


def _misfits(config: CocaConfig) -> list[str]:
    vision, width = config.vision_cfg, config.multimodal_cfg.width
    key, found = ("embed_dim", config.embed_dim) if vision.attentional_pool else ("vision_cfg.width", vision.width)
    text_width = config.text_cfg.width
    checks = {
        f"vision_cfg.layers: expected a number, for a ViT, got {vision.layers}": vision.is_vit,
        "vision_cfg.output_tokens: expected true, for the decoder": vision.output_tokens,
        "text_cfg.output_tokens: expected true, for the decoder": config.text_cfg.output_tokens,
        f"multimodal_cfg.width: {width}, expected {key}'s {found}, the width of the picture's tokens": width == found,
        f"multimodal_cfg.width: {width}, expected text_cfg.width's {text_width}": text_width in {None, width},
    }
    return [problem for problem, holds in checks.items() if not holds]
