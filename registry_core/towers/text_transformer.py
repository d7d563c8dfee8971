"""The text tower of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.config.model import TextConfig
from registry_core.towers.inputs import check_text, embed_ids, unknown_pooling
from registry_core.towers.key_values import Prefix, causal_mask
from registry_core.towers.layers import BlockOptions, Transformer
from registry_core.towers.locking import Group, check_norms, lock_groups
from registry_core.towers.masks import additive_causal_mask, from_torch


class TextLayers(nn.Module):
    """The layers of a text tower, and their computation, as a mixin class.

    CLIP inherits them, since its checkpoints keep them at the top level. Other architectures have a TextTransformer.
    """

    low_precision_parameters = ("text_projection",)
    # Parameters have the order of the published models, since optimiser states refer to parameters by their number.
    embedding_first = False
    _has_custom_mask = False  # whether `attn_mask` was set; its value is in `_custom_mask`
    _custom_mask: Tensor | None

    def add_text_layers(self, config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        """Create the layers, initialised with the distributions of the published training code.

        Args:
            config: The text config.
            embed_dim: Width of the features, E.
            quick_gelu: Whether the blocks use OpenAI's activation.
        """
        self.text_config = config
        self.context_length = config.context_length
        self.vocab_size = config.vocab_size
        self.pool_type: str = config.pool_type
        self.eos_id = config.eos_id
        options = BlockOptions.of(config, config.heads, quick_gelu=quick_gelu)
        if not self.embedding_first:
            self.transformer = Transformer(options, config.layers)
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        if self.embedding_first:
            self.transformer = Transformer(options, config.layers)
        self.cls_emb = nn.Parameter(torch.empty(config.width)) if config.embed_cls else None
        self.positional_embedding = nn.Parameter(torch.empty(config.positions, config.width))
        self.ln_final = options.layer_norm()
        self.text_projection = _projection(config, embed_dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        if self.cls_emb is not None:
            nn.init.normal_(self.cls_emb, std=0.01)
        self.transformer.reset_for_text()

    @property
    def causal(self) -> bool:
        """Whether each token attends only to itself and to the tokens before it."""
        return not (self.text_config.no_causal_mask or self._has_custom_mask)

    @property
    def attn_mask(self) -> Tensor | None:
        """The mask that is added to the attention scores: 0, or -inf for hidden tokens; [L, L] for the full length.

        None means that each token attends to all tokens. The mask can be set: a tensor replaces it, None removes it.
        Neither is part of the state dict. Tokens in `transformer(x, attn_mask=...)` are [N, L, C].
        """
        if self._has_custom_mask:
            return self._custom_mask
        return additive_causal_mask(self.text_config.positions, self.positional_embedding) if self.causal else None

    @attn_mask.setter
    def attn_mask(self, mask: Tensor | None) -> None:
        self._has_custom_mask = True
        self.register_buffer("_custom_mask", mask, persistent=False)

    def encode_tokens(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids [N, L], int64, L up to the context length -> features [N, E] and tokens [N, L, C].

        The tokens are normalised, except in a tower with a class token (`embed_cls`), whose decoder expects them as
        they leave the blocks.
        """
        x, mask = self.prepare(text)
        return self.finish(self.transformer(x, causal=self.causal, mask=mask), text)

    def prepare(self, text: Tensor) -> tuple[Tensor, Tensor | None]:
        """Token ids [N, L] -> input of the blocks [N, L, C] and its mask.

        With a class token the input is [N, L + 1, C]. A mask of None means that `causal` alone determines the mask.
        """
        check_text(text, self.context_length)
        x = self._embed(text, 0)
        if self.cls_emb is None:
            return x, self._custom_mask_for(x)
        position = self.positions(text.shape[1] + 1)[-1]
        class_token = (self.cls_emb + position).to(x.dtype).expand(x.shape[0], 1, -1)
        mask = self._visible(text)[:, None, None]  # [N, 1, 1, L + 1]
        if self.causal:
            mask = mask & causal_mask(mask.shape[-1], mask.shape[-1], x.device)
        x = torch.cat([x, class_token], dim=1)
        custom = self._custom_mask_for(x)
        return x, mask if custom is None else _combine_masks(mask, custom)

    def _custom_mask_for(self, x: Tensor) -> Tensor | None:
        """Return the mask that was set, cut to the length of tokens [N, L, C]."""
        mask = self._custom_mask if self._has_custom_mask else None
        return None if mask is None else from_torch(mask[: x.shape[1], : x.shape[1]], x)

    def finish(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the blocks, and the token ids [N, L] -> features [N, E] and tokens [N, L, C]."""
        if self.cls_emb is None:
            normed: Tensor = self.ln_final(x)
            return self._project(self._pool(normed, text)), normed
        return self._project(self.ln_final(x[:, -1])), x[:, :-1]

    def extend_tokens(self, text: Tensor, prefix: Prefix) -> Tensor:
        """Token ids [N, L] that continue some texts -> their tokens [N, L, C], as `encode_tokens` of whole texts.

        The result is exact if the tower is causal, since then a token does not depend on later ones. The class token is
        left out: it is the last token, and no other token attends to it.

        Args:
            text: Token ids that follow those in `prefix`.
            prefix: Key-value caches of the beginning of the texts. They are extended.
        """
        x, new = self._embed(text, prefix.length), text.shape[1]
        prefix.length += new
        mask = causal_mask(new, prefix.length, x.device) if new > 1 else None
        if self.cls_emb is None:
            normed: Tensor = self.ln_final(self.transformer(x, mask=mask, prefix=prefix))
            return normed
        further = self._visible(text)
        prefix.visible = further if prefix.visible is None else torch.cat([prefix.visible, further[:, 1:]], dim=1)
        visible = prefix.visible[:, None, None, :-1]
        tokens: Tensor = self.transformer(x, mask=visible if mask is None else visible & mask, prefix=prefix)
        return tokens

    def _embed(self, text: Tensor, start: int) -> Tensor:
        """Token ids [N, L] at the positions from `start` on -> [N, L, C]."""
        dtype = self.transformer.dtype
        positions = self.positions(start + text.shape[1])[start:]
        embedded: Tensor = embed_ids(self.token_embedding, text, self.vocab_size).to(dtype) + positions.to(dtype)
        return embedded

    def _visible(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> [N, L + 1], whether tokens may attend to each position. The class token is the last one.

        The published models were trained with a padding mask that is shifted by one position: the first position is
        always visible, and any other position is hidden if the id before it is padding.
        """
        return F.pad(text != self.text_config.pad_id, (1, 0), value=True)

    def positions(self, length: int) -> Tensor:
        """Return the embeddings [L, C] of the first `length` positions. A subclass may compute them in another way."""
        return self.positional_embedding[:length]

    def _pool(self, x: Tensor, text: Tensor) -> Tensor:
        """Tokens [N, L, C] -> the token [N, C] that represents the text."""
        rows = torch.arange(x.shape[0], device=x.device)
        match self.pool_type:
            case "argmax":  # CLIP's end-of-text id is its largest
                return x[rows, text.argmax(dim=-1)]
            case "eos":
                return x[rows, (text == self.eos_id).int().argmax(dim=-1)]
            case "first":
                return x[:, 0]
            case "last":
                return x[:, -1]
            case "none":
                return x
            case other:
                raise unknown_pooling(other, TextConfig)

    def _project(self, pooled: Tensor) -> Tensor:
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Linear):
            projected: Tensor = self.text_projection(pooled)
            return projected
        return pooled @ self.text_projection

    def text_groups(self) -> list[Group]:
        """Return the groups that locking counts: the embeddings, each block, and the projection if it exists."""
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        top: list[Group] = [] if self.text_projection is None else [[self.text_projection]]
        stem: Group = [self.token_embedding, self.positional_embedding]
        if self.cls_emb is not None:
            stem.append(self.cls_emb)
        return [stem, *blocks, [last, self.ln_final], *top]


class TextTransformer(TextLayers):
    """The native text tower: token ids -> features.

    Attention is causal unless the config sets `no_causal_mask`, so tokens after the end-of-text token do not change the
    features. With `embed_cls` a class token is appended to the text, and the features are computed from it.
    """

    embedding_first = True

    def __init__(self, config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__()
        self.output_tokens = config.output_tokens
        self.add_text_layers(config, embed_dim, quick_gelu=quick_gelu)

    def forward(self, text: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Token ids [N, L] -> features [N, E]; with tokens [N, L, C] if `output_tokens` is set."""
        features, tokens = self.encode_tokens(text)
        return (features, tokens) if self.output_tokens else features

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the tower except for its last groups. The groups are the embeddings, each block, and the projection.

        Args:
            unlocked_layers: Number of groups that stay trainable, from the end.
            freeze_layer_norm: Must be true; the norms belong to the groups of their blocks.

        Raises:
            InputError: `unlocked_layers` is not a whole number or is negative, or `freeze_layer_norm` is false.
        """
        check_norms(freeze_layer_norm=freeze_layer_norm)
        lock_groups(self.text_groups(), unlocked_layers, "unlocked_layers")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that optimisers exclude from weight decay."""
        return {"positional_embedding"} if self.cls_emb is None else {"positional_embedding", "cls_emb"}


def _projection(config: TextConfig, embed_dim: int) -> nn.Parameter | nn.Linear | None:
    """Return the initialised projection from the tower's width into the joint space, or None."""
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


def _combine_masks(visible: Tensor, custom: Tensor) -> Tensor:
    """Combine a boolean mask with another, which is boolean or added to the scores."""
    return visible & custom if custom.dtype == torch.bool else torch.where(visible, custom, float("-inf"))
