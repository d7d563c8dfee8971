"""The text tower of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry_core.config import TextConfig
from registry_core.towers.inputs import check_text
from registry_core.towers.layers import BlockOptions, Transformer
from registry_core.towers.locking import Group, lock_groups


class TextLayers(nn.Module):
    """The layers of the text tower and what they compute.

    CLIP inherits them, since its checkpoints keep them at the top level; other architectures hold a TextTransformer.
    """

    low_precision_parameters = ("text_projection",)

    def add_text_layers(self, config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        """Create the layers, with random values of the published training code's distributions.

        Args:
            config: the text config.
            embed_dim: width of the feature, E.
            quick_gelu: OpenAI's activation.
        """
        self.text_config = config
        self.context_length = config.context_length
        self.vocab_size = config.vocab_size
        options = BlockOptions.of(config, config.heads, quick_gelu=quick_gelu)
        # In the order of the published models, so that optimiser states, which count parameters, fit too.
        self.transformer = Transformer(options, config.layers)
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.ln_final = options.layer_norm()
        self.text_projection = _projection(config, embed_dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        self.transformer.reset_for_text()

    def encode_tokens(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [N, L], int64, L up to the context length -> feature [N, E] and tokens [N, L, C]."""
        check_text(text, self.context_length)
        dtype = self.transformer.dtype
        x = self.token_embedding(text).to(dtype) + self.positional_embedding[: text.shape[1]].to(dtype)
        x = self.ln_final(self.transformer(x, causal=not self.text_config.no_causal_mask))
        return self._project(self._pool(x, text)), x

    def _pool(self, x: Tensor, text: Tensor) -> Tensor:
        """The token [N, C] of [N, L, C] that stands for the text."""
        rows = torch.arange(x.shape[0], device=x.device)
        match self.text_config.pool_type:
            case "argmax":  # CLIP's end-of-text id is its largest
                return x[rows, text.argmax(dim=-1)]
            case "eos":
                return x[rows, (text == self.text_config.eos_id).int().argmax(dim=-1)]
            case "first":
                return x[:, 0]
            case "last":
                return x[:, -1]
            case "none":
                return x

    def _project(self, pooled: Tensor) -> Tensor:
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Linear):
            projected: Tensor = self.text_projection(pooled)
            return projected
        return pooled @ self.text_projection

    def text_groups(self) -> list[Group]:
        """The layers from input to output, as locking counts them: embedding, each block, projection."""
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        top: Group = [] if self.text_projection is None else [self.text_projection]
        return [[self.token_embedding, self.positional_embedding], *blocks, [last, self.ln_final], top]


class TextTransformer(TextLayers):
    """Token ids to feature, as a tower of its own.

    Attention is causal unless the config says otherwise: what follows the end-of-text token cannot change the feature.
    """

    def __init__(self, config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__()
        self.add_text_layers(config, embed_dim, quick_gelu=quick_gelu)

    def forward(self, text: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Ids [N, L] -> feature [N, E]; with tokens [N, L, C] if the config asks for `output_tokens`."""
        feature, tokens = self.encode_tokens(text)
        return (feature, tokens) if self.text_config.output_tokens else feature

    def lock(self, unlocked_layers: int = 0, *, freeze_layer_norm: bool = True) -> None:
        """Freeze the tower but its last groups: embedding, then each block, then the projection."""
        del freeze_layer_norm  # norms are frozen with their block
        lock_groups(self.text_groups(), unlocked_layers)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        return {"positional_embedding"}


def _projection(config: TextConfig, embed_dim: int) -> nn.Parameter | nn.Linear | None:
    """From the tower's width into the joint space; initialised."""
    if config.proj_type == "none":
        return None
    projection: nn.Parameter | nn.Linear
    if config.proj_bias:
        projection = nn.Linear(config.width, embed_dim)
        nn.init.normal_(projection.weight, std=config.width**-0.5)
        nn.init.zeros_(projection.bias)
    else:
        projection = nn.Parameter(torch.empty(config.width, embed_dim))
        nn.init.normal_(projection, std=config.width**-0.5)
    return projection
