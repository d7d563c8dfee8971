"""Beam search in groups.

The rules, down to the choice among equals, are those of transformers' BeamSearchScorer as open_clip's `generate` drove
it: the score of a text is the sum of its tokens' logits (not of log probabilities) over its length, start and end
counted.
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

_NEVER = -1e9  # score of beams that no token may come from at first


@dataclass(slots=True)
class Finished:
    """The best texts that one group has ended for one picture.

    Attributes:
        size: how many are kept.
        texts: (score, ids), in the order of arrival.
        closed: no text that is still open could become better.
    """

    size: int
    texts: list[tuple[float, list[int]]] = field(default_factory=list)
    closed: bool = False

    @property
    def worst(self) -> float:
        """The lowest score."""
        return min(score for score, _ in self.texts)

    def add(self, ids: list[int], total: float, length: int) -> None:
        """A text that ended; of too many the worst goes, of equals the oldest."""
        score = total / length
        if len(self.texts) < self.size or score > self.worst:
            self.texts.append((score, ids))
        if len(self.texts) > self.size:
            self.texts.remove(min(self.texts, key=lambda text: text[0]))

    def close(self, best_total: float, length: int) -> None:
        """Closed for good once full, and no open text promises more at its present length."""
        self.closed = self.closed or (len(self.texts) == self.size and self.worst >= best_total / length)


@dataclass(slots=True)
class _Candidates:
    """The likeliest next steps of one picture and group, best first.

    Attributes:
        totals: what each makes the text's sum of logits.
        tokens: which token each adds.
        parents: the beam that each adds it to.
    """

    totals: list[float]
    tokens: list[int]
    parents: list[int]


class BeamSearch:
    """One search over some pictures.

    Args:
        step: gives logits; texts of a picture are neighbours, those of a group too.
        options: of the caller.
        pictures: how many.
    """

    def __init__(self, step: NextToken, options: GenerationOptions, pictures: int) -> None:
        self.step, self.options, self.pictures = step, options, pictures
        self.groups = options.groups
        self.size = options.num_beams // options.num_beam_groups
        self.finished = [[Finished(self.size) for _ in range(self.groups)] for _ in range(pictures)]

    def run(self, ids: Tensor) -> Tensor:
        """Texts [N, L] that begin with `ids` [N, beginning], the best of each picture."""
        if not self.pictures:
            return ids
        ids = ids.repeat_interleave(self.groups * self.size, dim=0)
        # [N, groups, beams]; all beams are equal at first, and only one of a group goes on.
        totals = torch.full((self.pictures, self.groups, self.size), _NEVER, device=ids.device)
        totals[..., 0] = 0
        while True:
            ids, totals = self._grow(ids, totals)
            over = all(group.closed for groups in self.finished for group in groups)
            if over or ids.shape[1] >= self.options.seq_len or self.options.stops(ids):
                return self._best(ids, totals)

    def _grow(self, ids: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """All texts one token longer, and their totals."""
        texts = ids.view(self.pictures, self.groups, self.size, -1)
        logits = self.step.logits(ids).view(self.pictures, self.groups, self.size, -1)
        chosen = ids.new_empty(self.pictures, self.groups, self.size)
        parents = torch.empty_like(chosen)
        totals = totals.clone()
        for group in range(self.groups):
            scores = self._scores(logits[:, group], texts[:, group], chosen[:, :group])
            rows = self._candidates(scores + totals[:, group, :, None])
            kept = [
                self._select(self.finished[picture][group], row, texts[picture, group])
                for picture, row in enumerate(rows)
            ]
            totals[:, group] = torch.tensor([row.totals for row in kept], device=ids.device)
            chosen[:, group] = torch.tensor([row.tokens for row in kept], device=ids.device)
            parents[:, group] = torch.tensor([row.parents for row in kept], device=ids.device)
        first = torch.arange(self.pictures * self.groups, device=ids.device) * self.size
        rows_before = (parents.flatten(0, 1) + first[:, None]).flatten()
        self.step.take(rows_before)
        return torch.cat([ids[rows_before], chosen.view(-1, 1)], dim=1), totals

    def _scores(self, logits: Tensor, texts: Tensor, chosen: Tensor) -> Tensor:
        """[N, beams, V] of one group; `chosen` [N, earlier groups, beams] is what those took in this step."""
        if chosen.shape[1]:
            logits = penalise_chosen(logits, chosen.flatten(1), self.options.diversity_penalty)
        return process(logits.flatten(0, 1), texts.flatten(0, 1), self.options).view(logits.shape)

    def _candidates(self, totals: Tensor) -> list[_Candidates]:
        """Of [N, beams, V], enough for all beams to go on though each may end."""
        vocabulary = totals.shape[2]
        wanted = max(2, 1 + len(self.options.eos)) * self.size
        best, places = totals.flatten(1).topk(min(wanted, totals.shape[1] * vocabulary))
        tokens, parents = places % vocabulary, places // vocabulary
        rows = zip(best.tolist(), tokens.tolist(), parents.tolist(), strict=True)
        return [_Candidates(*row) for row in rows]

    def _select(self, finished: Finished, candidates: _Candidates, texts: Tensor) -> _Candidates:
        """The candidates that go on, one a beam; those that end are finished."""
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
            elif rank < self.size:  # an end that is not among the best does not count
                finished.add(texts[parent].tolist(), total, length)
            if len(kept.tokens) == self.size:
                break
        finished.close(max(candidates.totals), length)
        return kept

    def _best(self, ids: Tensor, totals: Tensor) -> Tensor:
        """[N, L], the best text of each picture, with its end if there is room, and padded."""
        texts = ids.view(self.pictures, self.groups, self.size, -1).tolist()
        open_totals = totals.tolist()
        best = []
        for picture, groups in enumerate(self.finished):
            for group, finished in enumerate(groups):
                if not finished.closed:
                    for text, total in zip(texts[picture][group], open_totals[picture][group], strict=True):
                        finished.add(text, total, len(text))
            # max() takes the first of equals; the rules take the last.
            best.append(max(reversed([text for group in groups for text in group.texts]), key=lambda text: text[0])[1])
        length = min(max(map(len, best)) + 1, self.options.longest)
        rows = [[*text, self.options.eos[0], *[self.options.pad] * length][:length] for text in best]
        return torch.tensor(rows, device=ids.device)
