"""Changes to the logits before a token is chosen.

Each function takes float scores [N, V] and returns new scores. What the functions compute, and the order in which
generation applies them, are those of open_clip's `generate`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .options import GenerationOptions


def process(scores: Tensor, ids: Tensor, options: GenerationOptions) -> Tensor:
    """Apply the rules that all generation types share to the scores [N, V] of the token after `ids` [N, L].

    Args:
        scores: The logits.
        ids: The part of the texts that counts for these rules.
        options: Options of the caller.
    """
    if ids.shape[1] < options.min_seq_len:
        scores = forbid(scores, options.eos)
    if options.repetition_penalty == 1:
        return scores
    return penalise_repetition(scores, ids, options.repetition_penalty)


def forbid(scores: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """Make tokens impossible."""
    return scores.index_fill(1, torch.tensor(tokens, device=scores.device), -torch.inf)


def penalise_repetition(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Make the tokens in `ids` [N, L] less likely (Keskar et al. 2019, https://arxiv.org/abs/1909.05858)."""
    found = scores.gather(1, ids)
    return scores.scatter(1, ids, torch.where(found < 0, found * penalty, found / penalty))


def keep_top_k(scores: Tensor, count: int) -> Tensor:
    """Make all but the `count` likeliest tokens impossible. Tokens as likely as the last of these stay possible."""
    least = scores.topk(min(count, scores.shape[1])).values[:, -1:]
    return scores.masked_fill(scores < least, -torch.inf)


def keep_top_p(scores: Tensor, share: float) -> Tensor:
    """Make all tokens impossible but the likeliest ones that together hold `share` of the probability.

    Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
    """
    ordered, order = scores.sort()  # the likeliest last
    below = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - share
    below[:, -1] = False
    return scores.masked_fill(below.scatter(1, order, below), -torch.inf)


def penalise_chosen(scores: Tensor, chosen: Tensor, penalty: float) -> Tensor:
    """Subtract `penalty` from the score of a token, once for each time that it occurs in `chosen`.

    Vijayakumar et al. 2016, https://arxiv.org/abs/1610.02424.

    Args:
        scores: [N, beams, V].
        chosen: Tokens that other beams chose, [N, any number].
        penalty: The number to subtract.
    """
    counts = scores.new_zeros(scores.shape[0], scores.shape[2])
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=scores.dtype))
    return scores - penalty * counts[:, None]
