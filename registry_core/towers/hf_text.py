"""Text towers of the transformers library (Wolf et al. 2020, https://github.com/huggingface/transformers).

Parameter names are those of open_clip's published checkpoints: `transformer` is the encoder, `proj` the projection.
Nothing is downloaded. hf_models.jsonl has the shapes of the models that published CLIPs use; a config can state others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from registry_core.config.model import HFTextConfig
from registry_core.config.tables import model_table
from registry_core.errors import ConfigError, close_names, did_you_mean, listing, missing_library
from registry_core.towers.inputs import check_text, embed_ids
from registry_core.towers.locking import number_of_groups

if TYPE_CHECKING:
    from types import ModuleType

known_shapes = model_table("registry_core.towers", "hf_models.jsonl")

# The keys of a transformers config that describe a shape. A config is untrusted data: no other key is passed on, since
# some of them load code or weights.
_COMMON = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "initializer_range")
_BERT = (
    *_COMMON, "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "layer_norm_eps",
)  # fmt: skip
_T5 = (
    *_COMMON, "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
    "relative_attention_num_buckets", "relative_attention_max_distance", "dropout_rate", "layer_norm_epsilon",
    "initializer_factor", "feed_forward_proj", "tie_word_embeddings",
)  # fmt: skip
_M2M = (
    *_COMMON, "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads",
    "encoder_ffn_dim", "decoder_ffn_dim", "encoder_layerdrop", "decoder_layerdrop", "max_position_embeddings",
    "scale_embedding", "activation_function", "dropout", "attention_dropout", "activation_dropout", "init_std",
)  # fmt: skip
SHAPE_KEYS = {"bert": _BERT, "roberta": _BERT, "xlm-roberta": _BERT, "mt5": _T5, "t5": _T5, "m2m_100": _M2M}

# Models that also have a decoder, which a text tower does not use.
_HAS_DECODER = frozenset({"mt5", "t5", "m2m_100"})
# Function from the padding id of a model to the number of its first positions that no token uses. Other models accept
# texts of any length.
_UNUSED_POSITIONS: dict[str, Callable[[int], int]] = {
    "bert": lambda pad: 0,  # noqa: ARG005
    "roberta": lambda pad: pad + 1,
    "xlm-roberta": lambda pad: pad + 1,
}
_DEFAULT_POOLERS = {"bert": "cls_pooler", "m2m_100": "cls_pooler"}  # all others: mean_pooler


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    del mask
    return states[:, 0]


# Last hidden states [N, L, C] and mask [N, L] -> pooled state [N, C].
_POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean_pooler": _mean,
    "max_pooler": _max,
    "cls_pooler": _first,
    "cls_last_hidden_state_pooler": _first,
}


class HFTextTower(nn.Module):
    """An encoder of transformers as text tower: token ids -> features. Always built in float32.

    Args:
        config: Name and options of the model, and how its features are projected into the joint space.
        embed_dim: Width of the result, E.

    Attributes:
        longest: The largest number of tokens in a text, or None for any.

    Raises:
        BuildError: transformers is not installed.
        ConfigError: The shape of the model is unknown, or a key describes no shape.
    """

    def __init__(self, config: HFTextConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.output_dim = embed_dim
        self.output_tokens = config.output_tokens
        self.context_length = config.context_length
        shape = shape_of(config)
        model_type = shape["model_type"]
        self.pooler_type = config.hf_pooler_type or _DEFAULT_POOLERS.get(model_type, "mean_pooler")
        self.transformer = self._make_encoder(_transformers(), shape)
        self.pad_id: int = self.transformer.config.pad_token_id
        self.vocab_size: int = self.transformer.config.vocab_size
        unused = _UNUSED_POSITIONS.get(model_type)
        positions: int = getattr(self.transformer.config, "max_position_embeddings", 0)
        self.longest = None if unused is None else positions - unused(self.pad_id)
        width: int = shape["d_model"] if model_type in _HAS_DECODER else shape["hidden_size"]
        self.proj = _projection(config, width, embed_dim)

    def _make_encoder(self, transformers: ModuleType, shape: Mapping[str, Any]) -> Any:
        fields = {key: value for key, value in shape.items() if key != "model_type"}
        hf_config = transformers.AutoConfig.for_model(shape["model_type"], **fields)
        if shape["model_type"] in _HAS_DECODER:
            return transformers.AutoModel.from_config(hf_config, dtype=torch.float32).encoder
        pooling = self.config.hf_pooler_type == "cls_pooler"  # the learnt pooling layer of the model
        return transformers.AutoModel.from_config(hf_config, dtype=torch.float32, add_pooling_layer=pooling)

    def forward(self, text: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Token ids [N, L], int64, padded with the model's padding id -> features [N, E].

        If `output_tokens` is set, the tokens [N, L, C] are returned too, without the first one if the pooler uses it.

        Raises:
            InputError: The shape or dtype does not fit, an id is not in the vocabulary, or the texts are too long.
        """
        check_text(text, self.longest)
        mask = (text != self.pad_id).long()
        output = embed_ids(lambda ids: self.transformer(input_ids=ids, attention_mask=mask), text, self.vocab_size)
        states: Tensor = output.last_hidden_state
        learnt = getattr(output, "pooler_output", None) if self.pooler_type == "cls_pooler" else None
        features: Tensor = self.proj(_POOLERS[self.pooler_type](states, mask) if learnt is None else learnt)
        tokens = states[:, 1:] if self.pooler_type == "cls_pooler" else states
        return (features, tokens) if self.output_tokens else features

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the encoder except for its last layers. The projection stays trainable.

        Args:
            unlocked_layers: Number of layers that stay trainable, from the end.
            freeze_layer_norm: Whether the norms of the other layers are frozen as well.

        Raises:
            InputError: `unlocked_layers` is not a whole number, or is negative.
        """
        frozen: list[nn.Module] = [self.transformer]
        unlocked = number_of_groups(unlocked_layers, "unlocked_layers")
        if unlocked:
            frozen = self._layers()[:-unlocked]
        for module in frozen:
            for name, parameter in module.named_parameters():
                parameter.requires_grad = not freeze_layer_norm and "LayerNorm" in name.split(".")

    def _layers(self) -> list[nn.Module]:
        """Return the embeddings and each layer, first to last."""
        encoder = getattr(self.transformer, "encoder", self.transformer)
        layers = next(child for child in encoder.children() if isinstance(child, nn.ModuleList))
        # If all embeddings are one module, it includes the position embeddings and a norm.
        return [getattr(self.transformer, "embeddings", self.transformer.get_input_embeddings()), *layers]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        state = "enable" if enable else "disable"
        # Newer versions of transformers have the first name; older ones have only the second.
        newer = getattr(self.transformer, f"activation_checkpointing_{state}", None)
        (newer or getattr(self.transformer, f"gradient_checkpointing_{state}"))()

    def no_weight_decay(self) -> set[str]:
        """Return no names, as open_clip does; all parameters have weight decay."""
        return set()


def shape_of(config: HFTextConfig) -> dict[str, Any]:
    """Return the keys that describe the model's shape, from the config or, for well-known models, from the table.

    Raises:
        ConfigError: The config states no shape and the model is not in the table, or a key describes no shape.
    """
    known = known_shapes()
    given = config.hf_model_config or known.get(config.hf_model_name)
    if given is None:
        raise ConfigError(
            f"The shape of transformers' model {config.hf_model_name!r} is unknown, and nothing is downloaded to find "
            f"it.{did_you_mean(config.hf_model_name, known)} Known models: {listing(known)}. Nothing was built.",
            name=config.hf_model_name,
            expected=list(known),
            suggestions=close_names(config.hf_model_name, known),
            advice="Give the shape as text_cfg.hf_model_config: its model_type and sizes, as in the model's "
            "config.json.",
        )
    model_type = given.get("model_type")
    if model_type not in SHAPE_KEYS:
        raise ConfigError(
            f"text_cfg.hf_model_config has model_type {model_type!r}; expected one of {listing(SHAPE_KEYS)}. "
            "Nothing was built.",
            name="text_cfg.hf_model_config.model_type",
            expected=list(SHAPE_KEYS),
            found=model_type,
            problems={"text_cfg.hf_model_config.model_type": f"{model_type!r} is not supported"},
        )
    unknown = sorted(set(given) - {"model_type", *SHAPE_KEYS[model_type]})
    if unknown:
        raise ConfigError(
            f"text_cfg.hf_model_config has keys that describe no shape of {model_type}: {listing(unknown)}. Only "
            f"these keys are passed on to transformers: {listing(SHAPE_KEYS[model_type], 40)}. Nothing was built.",
            name="text_cfg.hf_model_config",
            expected=SHAPE_KEYS[model_type],
            found=unknown,
            problems={f"text_cfg.hf_model_config.{key}": "describes no shape" for key in unknown},
            advice="Remove the other keys.",
        )
    return dict(given)


def _projection(config: HFTextConfig, width: int, embed_dim: int) -> nn.Module:
    if config.hf_proj_type == "linear":
        return nn.Linear(width, embed_dim, bias=False)
    if config.hf_proj_type == "mlp":
        hidden = (width + embed_dim) // 2
        first, second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, embed_dim, bias=False)
        return nn.Sequential(first, nn.GELU(), second)
    if width != embed_dim:
        raise ConfigError(
            f"The text tower has width {width} and the joint space has width {embed_dim}, so a projection is needed. "
            "Nothing was built.",
            name="text_cfg.hf_proj_type",
            expected=embed_dim,
            found=width,
            problems={"text_cfg.hf_proj_type": "needed, since the widths differ"},
            advice="Set text_cfg.hf_proj_type to 'linear' or 'mlp'.",
        )
    return nn.Identity()


def _transformers() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise missing_library(
            error, "This model has a text tower of transformers", "hf", "Nothing was built."
        ) from error
    module: ModuleType = transformers
    return module
