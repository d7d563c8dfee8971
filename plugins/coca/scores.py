"""What is done to logits before a token is chosen.

Each function takes float scores [N, V] and returns new ones. The order in which generation applies them, and what they
compute, is that of open_clip's `generate`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .options import GenerationOptions


def process(scores: Tensor, ids: Tensor, options: GenerationOptions) -> Tensor:
    """Scores [N, V] of the token after `ids` [N, L], by the rules that all ways of generating share.

    Args:
        scores: the logits.
        ids: as much of the texts as is to count.
        options: of the caller.
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
    """Tokens that occur in `ids` [N, L] become less likely (Keskar et al. 2019, https://arxiv.org/abs/1909.05858)."""
    found = scores.gather(1, ids)
    return scores.scatter(1, ids, torch.where(found < 0, found * penalty, found / penalty))


def keep_top_k(scores: Tensor, count: int) -> Tensor:
    """Make all but the `count` likeliest tokens impossible; those as likely as the last of them stay."""
    least = scores.topk(min(count, scores.shape[1])).values[:, -1:]
    return scores.masked_fill(scores < least, -torch.inf)


def keep_top_p(scores: Tensor, share: float) -> Tensor:
    """Make all but the likeliest tokens, that together hold `share` of the probability, impossible.

    Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
    """
    ordered, order = scores.sort()  # the likeliest last
    below = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - share
    below[:, -1] = False
    return scores.masked_fill(below.scatter(1, order, below), -torch.inf)


def penalise_chosen(scores: Tensor, chosen: Tensor, penalty: float) -> Tensor:
    """Tokens become less likely by `penalty` for each time that they occur in `chosen`.

    Vijayakumar et al. 2016, https://arxiv.org/abs/1610.02424.

    Args:
        scores: [N, beams, V].
        chosen: what other beams chose, [N, any number].
        penalty: subtracted.
    """
    counts = scores.new_zeros(scores.shape[0], scores.shape[2])
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=scores.dtype))
    return scores - penalty * counts[:, None]
