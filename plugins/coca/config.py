"""The config of CoCa, and the recognition of its raw configs."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny

from registry_core import AnyTextConfig, ConfigError, ModelConfig, RawConfig, VisionConfig
from registry_core.config import Layers, Positive, StrictModel


class MultimodalConfig(StrictModel):
    """The text decoder.

    Attributes:
        width: Width of the decoder, and therefore of the tokens of both towers.
        context_length, vocab_size, dim_head, n_queries, attn_pooler_heads: Accepted because published configs have
            these keys, but not used: the towers' own keys are.
    """

    width: Positive = 512
    heads: Positive = 8
    layers: Layers = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    ls_init_value: float | None = None
    context_length: Positive = 77
    vocab_size: Positive = 49408
    dim_head: Positive = 64
    n_queries: Positive = 256
    attn_pooler_heads: Positive = 8


class CocaConfig(ModelConfig):
    """Two towers that also return their tokens, and a decoder over both.

    Attributes:
        multimodal_cfg: The decoder.
        pad_id: The token id that `generate` fills up texts with.
    """

    architecture: ClassVar[str] = "coca"

    vision_cfg: SerializeAsAny[VisionConfig]
    text_cfg: AnyTextConfig
    multimodal_cfg: MultimodalConfig
    custom_text: Literal[True] = True
    pad_id: int = Field(default=0, ge=0)

    @classmethod
    def parse(cls, raw: RawConfig, origin: str) -> Self:
        """Validate a raw config, and check that its three parts fit together.

        Args:
            raw: Keys of the interchange JSON.
            origin: The model name or the file of the config, for messages.

        Raises:
            ConfigError: A key is unknown or missing, a value has the wrong type, or a tower does not fit the decoder.
        """
        config = super().parse(raw, origin)
        problems = _misfits(config)
        if problems:
            lines = "\n".join(f"  {key}: {problem}" for key, problem in problems.items())
            raise ConfigError(
                f"The config of {origin} does not describe a CoCa:\n{lines}\nNothing was built.",
                name=origin,
                problems=problems,
                advice="Correct the keys named above.",
            )
        return config


def claims(raw: RawConfig) -> bool:
    """Whether a raw config is a CoCa: its `architecture` says so, or it has a decoder."""
    if "architecture" in raw:
        return bool(raw["architecture"] == CocaConfig.architecture)
    return bool(raw.get("multimodal_cfg"))


def _misfits(config: CocaConfig) -> dict[str, str]:
    """Return the keys whose values do not fit together, each with its problem."""
    vision, width = config.vision_cfg, config.multimodal_cfg.width
    key, found = ("embed_dim", config.embed_dim) if vision.attentional_pool else ("vision_cfg.width", vision.width)
    text_width = config.text_cfg.width
    checks = (
        (vision.is_vit, "vision_cfg.layers", f"expected a number, for a ViT, got {vision.layers}"),
        (vision.output_tokens, "vision_cfg.output_tokens", "expected true, for the decoder"),
        (config.text_cfg.output_tokens, "text_cfg.output_tokens", "expected true, for the decoder"),
        (width == found, "multimodal_cfg.width", f"{width}, expected {key}'s {found}, the width of the image's tokens"),
        (text_width in {None, width}, "multimodal_cfg.width", f"{width}, expected text_cfg.width's {text_width}"),
    )
    problems: dict[str, list[str]] = {}
    for holds, where, problem in checks:
        if not holds:
            problems.setdefault(where, []).append(problem)
    return {where: "; ".join(found) for where, found in problems.items()}
