"""Beam search in groups.

The rules, including the choice among equal scores, are those of transformers' BeamSearchScorer as open_clip's
`generate` used it. The score of a text is the sum of its tokens' logits (not of their log probabilities), divided by
the length of the text, which includes the start token and the end token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .scores import penalise_chosen, process

if TYPE_CHECKING:
    from .next_token import NextToken
    from .options import GenerationOptions

_UNUSED_BEAM = -1e9  # first score of all beams of a group but one: they hold the same text, and only one may grow


@dataclass(slots=True)
class Finished:
    """The best finished texts of one group for one image.

    Attributes:
        size: Number of texts to keep.
        texts: Pairs (score, ids), in the order in which they were added.
        closed: Whether no unfinished text can still become better than these.
    """

    size: int
    texts: list[tuple[float, list[int]]] = field(default_factory=list)
    closed: bool = False

    @property
    def worst(self) -> float:
        """The lowest score."""
        return min(score for score, _ in self.texts)

    def add(self, ids: list[int], total: float, length: int) -> None:
        """Add a finished text. If there are too many, drop the worst; among equal ones, the oldest."""
        score = total / length
        if len(self.texts) < self.size or score > self.worst:
            self.texts.append((score, ids))
        if len(self.texts) > self.size:
            self.texts.remove(min(self.texts, key=lambda text: text[0]))

    def close(self, best_total: float, length: int) -> None:
        """Close the group if it is full and no unfinished text scores better at its present length."""
        self.closed = self.closed or (len(self.texts) == self.size and self.worst >= best_total / length)


@dataclass(slots=True)
class _Candidates:
    """The likeliest next tokens of one image and group, best first.

    Attributes:
        totals: Sum of logits of the text with each token added.
        tokens: The token ids.
        parents: The beam that each token continues.
    """

    totals: list[float]
    tokens: list[int]
    parents: list[int]


class BeamSearch:
    """One search over some images.

    Args:
        next_token: Computes logits. Its rows are sorted by image, and within an image by group.
        options: Options of the caller.
        images: Number of images.
    """

    def __init__(self, next_token: NextToken, options: GenerationOptions, images: int) -> None:
        self.next_token, self.options, self.images = next_token, options, images
        self.groups = options.groups
        self.size = options.num_beams // options.num_beam_groups
        self.finished = [[Finished(self.size) for _ in range(self.groups)] for _ in range(images)]

    def run(self, ids: Tensor) -> Tensor:
        """Return the best text of each image, [N, L], that begins with its prompt in `ids` [N, prompt length]."""
        if not self.images:
            return ids
        ids = ids.repeat_interleave(self.groups * self.size, dim=0)
        totals = torch.full((self.images, self.groups, self.size), _UNUSED_BEAM, device=ids.device)
        totals[..., 0] = 0
        while True:
            ids, totals = self._grow(ids, totals)
            over = all(group.closed for groups in self.finished for group in groups)
            if over or ids.shape[1] >= self.options.seq_len or self.options.stops(ids):
                return self._best(ids, totals)

    def _grow(self, ids: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token to all texts. Return their ids, and their sums of logits [N, groups, beams]."""
        texts = ids.view(self.images, self.groups, self.size, -1)
        logits = self.next_token.logits(ids).view(self.images, self.groups, self.size, -1)
        chosen = ids.new_empty(self.images, self.groups, self.size)
        parents = torch.empty_like(chosen)
        totals = totals.clone()
        for group in range(self.groups):
            scores = self._scores(logits[:, group], texts[:, group], chosen[:, :group])
            rows = self._candidates(scores + totals[:, group, :, None])
            kept = [
                self._select(self.finished[image][group], row, texts[image, group]) for image, row in enumerate(rows)
            ]
            totals[:, group] = torch.tensor([row.totals for row in kept], device=ids.device)
            chosen[:, group] = torch.tensor([row.tokens for row in kept], device=ids.device)
            parents[:, group] = torch.tensor([row.parents for row in kept], device=ids.device)
        first_rows = torch.arange(self.images * self.groups, device=ids.device) * self.size
        parent_rows = (parents.flatten(0, 1) + first_rows[:, None]).flatten()
        self.next_token.take(parent_rows)
        return torch.cat([ids[parent_rows], chosen.view(-1, 1)], dim=1), totals

    def _scores(self, logits: Tensor, texts: Tensor, chosen: Tensor) -> Tensor:
        """Return the scores [N, beams, V] of one group.

        Args:
            logits: [N, beams, V].
            texts: [N, beams, L].
            chosen: Tokens that earlier groups chose in this step, [N, earlier groups, beams].
        """
        if chosen.shape[1]:
            logits = penalise_chosen(logits, chosen.flatten(1), self.options.diversity_penalty)
        return process(logits.flatten(0, 1), texts.flatten(0, 1), self.options).view(logits.shape)

    def _candidates(self, totals: Tensor) -> list[_Candidates]:
        """Return the best candidates of `totals` [N, beams, V]: enough for all beams, even if each beam can end."""
        vocabulary = totals.shape[2]
        wanted = max(2, 1 + len(self.options.eos)) * self.size
        best, indices = totals.flatten(1).topk(min(wanted, totals.shape[1] * vocabulary))
        tokens, parents = indices % vocabulary, indices // vocabulary
        rows = zip(best.tolist(), tokens.tolist(), parents.tolist(), strict=True)
        return [_Candidates(*row) for row in rows]

    def _select(self, finished: Finished, candidates: _Candidates, texts: Tensor) -> _Candidates:
        """Return the candidates that continue, one for each beam. Move texts that end into `finished`."""
        if finished.closed:
            return _Candidates([0.0] * self.size, [self.options.pad] * self.size, [0] * self.size)
        kept = _Candidates([], [], [])
        length = texts.shape[1] + 1
        steps = zip(candidates.totals, candidates.tokens, candidates.parents, strict=True)
        for rank, (total, token, parent) in enumerate(steps):
            if token not in self.options.eos:
                kept.totals.append(total)
                kept.tokens.append(token)
                kept.parents.append(parent)
            elif rank < self.size:  # an end token that is not among the best candidates does not count
                finished.add(texts[parent].tolist(), total, length)
            if len(kept.tokens) == self.size:
                break
        finished.close(max(candidates.totals), length)
        return kept

    def _best(self, ids: Tensor, totals: Tensor) -> Tensor:
        """Return the best text of each image, [N, L], padded, and with an end token if there is room for it."""
        texts = ids.view(self.images, self.groups, self.size, -1).tolist()
        unfinished_totals = totals.tolist()
        best = []
        for image, groups in enumerate(self.finished):
            for group, finished in enumerate(groups):
                if not finished.closed:
                    for text, total in zip(texts[image][group], unfinished_totals[image][group], strict=True):
                        finished.add(text, total, len(text))
            # max() returns the first of equal texts; transformers' rules take the last.
            best.append(max(reversed([text for group in groups for text in group.texts]), key=lambda text: text[0])[1])
        length = min(max(map(len, best)) + 1, self.options.longest)
        rows = [[*text, self.options.eos[0], *[self.options.pad] * length][:length] for text in best]
        return torch.tensor(rows, device=ids.device)
