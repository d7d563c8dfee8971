"""The text tower of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.config import TextConfig
from registry_core.towers.inputs import check_text, embed_ids, unknown_pooling
from registry_core.towers.key_values import Prefix, causal_mask
from registry_core.towers.layers import BlockOptions, Transformer
from registry_core.towers.locking import Group, check_norms, lock_groups
from registry_core.towers.masks import additive_causal_mask, from_torch


class TextLayers(nn.Module):
    """The layers of the text tower and what they compute.

    CLIP inherits them, since its checkpoints keep them at the top level; other architectures hold a TextTransformer.
    """

    low_precision_parameters = ("text_projection",)
    # Parameters come in the order of the published models, so that optimiser states, which count them, fit too.
    embedding_first = False
    _masked_otherwise = False  # `attn_mask` was set, and `_other_mask` holds it
    _other_mask: Tensor | None

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
        """Whether each token sees itself and those before it only."""
        return not (self.text_config.no_causal_mask or self._masked_otherwise)

    @property
    def attn_mask(self) -> Tensor | None:
        """What is added to the scores of attention, [L, L] for texts of full length: 0, or -inf for what is hidden.

        None where each token sees all. A tensor that is set holds from then on, and None lifts the mask; neither is
        part of the state dict. Tokens in `transformer(x, attn_mask=...)` are [N, L, C].
        """
        if self._masked_otherwise:
            return self._other_mask
        return additive_causal_mask(self.text_config.positions, self.positional_embedding) if self.causal else None

    @attn_mask.setter
    def attn_mask(self, mask: Tensor | None) -> None:
        self._masked_otherwise = True
        self.register_buffer("_other_mask", mask, persistent=False)

    def encode_tokens(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [N, L], int64, L up to the context length -> feature [N, E] and tokens [N, L, C].

        Tokens are normed, but not beside a class token (`embed_cls`): a decoder goes on from these.
        """
        x, mask = self.prepare(text)
        return self.finish(self.transformer(x, causal=self.causal, mask=mask), text)

    def prepare(self, text: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids [N, L] -> what goes into the blocks: [N, L, C], and with a class token [N, L + 1, C] and its mask."""
        check_text(text, self.context_length)
        x = self._embed(text, 0)
        if self.cls_emb is None:
            return x, self._mask_set(x)
        place = self.positions(text.shape[1] + 1)[-1]
        class_token = (self.cls_emb + place).to(x.dtype).expand(x.shape[0], 1, -1)
        mask = self._visible(text)[:, None, None]  # [N, 1, 1, L + 1]
        if self.causal:
            mask = mask & causal_mask(mask.shape[-1], mask.shape[-1], x.device)
        x = torch.cat([x, class_token], dim=1)
        other = self._mask_set(x)
        return x, mask if other is None else _both(mask, other)

    def _mask_set(self, x: Tensor) -> Tensor | None:
        """The mask that was set, as far as tokens [N, L, C] reach."""
        mask = self._other_mask if self._masked_otherwise else None
        return None if mask is None else from_torch(mask[: x.shape[1], : x.shape[1]], x)

    def finish(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """What comes out of the blocks, and the ids -> feature [N, E] and tokens [N, L, C]."""
        if self.cls_emb is None:
            normed: Tensor = self.ln_final(x)
            return self._project(self._pool(normed, text)), normed
        return self._project(self.ln_final(x[:, -1])), x[:, :-1]

    def extend_tokens(self, text: Tensor, prefix: Prefix) -> Tensor:
        """Further ids [N, L] -> their tokens [N, L, C], as `encode_tokens` gives them for the whole texts.

        Exact where the tower is causal: then no token changes when others follow it. The class token is left out; it
        comes last, where no token sees it.

        Args:
            text: the ids that follow those which `prefix` keeps.
            prefix: the texts' beginning; these ids are added to it.
        """
        x, new = self._embed(text, prefix.length), text.shape[1]
        prefix.length += new
        mask = causal_mask(new, prefix.length, x.device) if new > 1 else None
        if self.cls_emb is None:
            normed: Tensor = self.ln_final(self.transformer(x, mask=mask, prefix=prefix))
            return normed
        fresh = self._visible(text)
        prefix.visible = fresh if prefix.visible is None else torch.cat([prefix.visible, fresh[:, 1:]], dim=1)
        visible = prefix.visible[:, None, None, :-1]
        tokens: Tensor = self.transformer(x, mask=visible if mask is None else visible & mask, prefix=prefix)
        return tokens

    def _embed(self, text: Tensor, start: int) -> Tensor:
        """Ids [N, L] at the places from `start` on -> [N, L, C]."""
        dtype = self.transformer.dtype
        places = self.positions(start + text.shape[1])[start:]
        embedded: Tensor = embed_ids(self.token_embedding, text, self.vocab_size).to(dtype) + places.to(dtype)
        return embedded

    def _visible(self, text: Tensor) -> Tensor:
        """[N, L + 1], whether each place of ids [N, L] and the class token may be seen by the others.

        The published models were trained with padding hidden one place late: the first place is always seen, and each
        other one unless the id before it is padding.
        """
        return F.pad(text != self.text_config.pad_id, (1, 0), value=True)

    def positions(self, length: int) -> Tensor:
        """Embeddings [L, C] of the first `length` positions; for architectures that have them otherwise."""
        return self.positional_embedding[:length]

    def _pool(self, x: Tensor, text: Tensor) -> Tensor:
        """The token [N, C] of [N, L, C] that stands for the text."""
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
        """The layers from input to output, as locking counts them: embedding, each block, the projection if any."""
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        top: list[Group] = [] if self.text_projection is None else [[self.text_projection]]
        stem: Group = [self.token_embedding, self.positional_embedding]
        if self.cls_emb is not None:
            stem.append(self.cls_emb)
        return [stem, *blocks, [last, self.ln_final], *top]


class TextTransformer(TextLayers):
    """Token ids to feature, as a tower of its own.

    Attention is causal unless the config says otherwise: what follows the end-of-text token cannot change the feature.
    With `embed_cls` a class token is put after the text, and is the feature instead.
    """

    embedding_first = True

    def __init__(self, config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__()
        self.output_tokens = config.output_tokens
        self.add_text_layers(config, embed_dim, quick_gelu=quick_gelu)

    def forward(self, text: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Ids [N, L] -> feature [N, E]; with tokens [N, L, C] where `output_tokens` is set."""
        feature, tokens = self.encode_tokens(text)
        return (feature, tokens) if self.output_tokens else feature

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the tower but its last groups: embedding, then each block, then the projection.

        Raises:
            InputError: norms are to stay trainable; here they are frozen with their block.
        """
        check_norms(freeze_layer_norm=freeze_layer_norm)
        lock_groups(self.text_groups(), unlocked_layers)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        return {"positional_embedding"} if self.cls_emb is None else {"positional_embedding", "cls_emb"}


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


def _both(visible: Tensor, other: Tensor) -> Tensor:
    """Two masks in one; the first is boolean."""
    return visible & other if other.dtype == torch.bool else torch.where(visible, other, float("-inf"))
