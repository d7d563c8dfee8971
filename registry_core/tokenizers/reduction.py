"""How texts that are too long lose tokens, for training (Li et al. 2023, CLIPA, https://arxiv.org/abs/2305.07017).

The random ones draw from the global generators of torch and of `random`, in the order of the published training code,
so that a seed gives the same ids.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from registry_core.errors import BuildError

Encode = Callable[[str], list[int]]
# Texts, what encodes one, and how many ids each may keep -> the ids kept.
Reduction = Callable[[list[str], Encode, int], list[Sequence[int]]]


def _dropped(texts: list[str], encode: Encode, most: int, *, shuffle: bool) -> list[Sequence[int]]:
    """Tokens chosen at random, in their order or in a random one."""
    import torch

    kept: list[Sequence[int]] = []
    for ids in map(encode, texts):
        if len(ids) > most:
            chosen = torch.randperm(len(ids))[: max(most, 0)].tolist()
            kept.append([ids[index] for index in (chosen if shuffle else sorted(chosen))])
        else:
            kept.append(ids)
    return kept


def _block(texts: list[str], encode: Encode, most: int) -> list[Sequence[int]]:
    """One run of tokens that starts at random."""
    most = max(most, 0)
    kept: list[Sequence[int]] = []
    for ids in map(encode, texts):
        start = random.randint(0, len(ids) - most) if len(ids) > most else 0  # noqa: S311 - no secret
        kept.append(ids[start : start + most])
    return kept


def _by_syntax(texts: list[str], encode: Encode, most: int) -> list[Sequence[int]]:
    """Nouns first, then adjectives, verbs and the rest, in the text's order."""
    return [encode(" ".join(chosen_words(*_tagged(text), most))) for text in texts]


_IMPORTANCE = {"NN": 1, "JJ": 2, "VB": 3}  # by the first two letters of a Penn Treebank tag


def chosen_words(words: Sequence[str], tags: Sequence[str], most: int) -> list[str]:
    """The `most` most important words, in their order; of equally important ones the first."""
    order = sorted(range(len(words)), key=lambda index: _IMPORTANCE.get(tags[index][:2], 4))
    return [words[index] for index in sorted(order[: max(most, 0)])]


def _tagged(text: str) -> tuple[list[str], list[str]]:
    """Words and their tags.

    Raises:
        BuildError: nltk or its data is not there; nothing is downloaded in silence.
    """
    try:
        import nltk  # type: ignore[import-not-found, unused-ignore]

        words: list[str] = nltk.tokenize.word_tokenize(text)
        return words, [tag for _, tag in nltk.pos_tag(words)]
    except (ImportError, LookupError) as error:
        reason = str(error).strip().partition("\n")[0].strip("* ") or "its data is not there"
        raise BuildError(
            f"reduction_mask='syntax' needs nltk and its data, and cannot have them: {reason}. Nothing was tokenised. "
            "Install them: pip install nltk && python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng."
        ) from error


REDUCTIONS: dict[str, Reduction | None] = {
    "": None,
    "simple": _block,
    "random": partial(_dropped, shuffle=False),
    "shuffle": partial(_dropped, shuffle=True),
    "syntax": _by_syntax,
}
