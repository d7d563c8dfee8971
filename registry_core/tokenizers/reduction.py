"""Ways to shorten texts that are too long, for training (Li et al. 2023, CLIPA, https://arxiv.org/abs/2305.07017).

The random ways draw from the global generators of torch and of `random`, in the same order as the published training
code. The same seed therefore gives the same ids.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from registry_core.errors import BuildError

Encode = Callable[[str], list[int]]
# (texts, function that encodes one text, most ids per text) -> the ids that are kept.
Reduction = Callable[[list[str], Encode, int], list[Sequence[int]]]


def _random_tokens(texts: list[str], encode: Encode, most: int, *, shuffle: bool) -> list[Sequence[int]]:
    """Keep tokens chosen at random, in their order or shuffled."""
    import torch

    kept: list[Sequence[int]] = []
    for ids in map(encode, texts):
        if len(ids) > most:
            chosen = torch.randperm(len(ids))[: max(most, 0)].tolist()
            kept.append([ids[index] for index in (chosen if shuffle else sorted(chosen))])
        else:
            kept.append(ids)
    return kept


def _random_block(texts: list[str], encode: Encode, most: int) -> list[Sequence[int]]:
    """Keep consecutive tokens from a random start."""
    most = max(most, 0)
    kept: list[Sequence[int]] = []
    for ids in map(encode, texts):
        start = random.randint(0, len(ids) - most) if len(ids) > most else 0  # noqa: S311 - not for cryptography
        kept.append(ids[start : start + most])
    return kept


def _by_syntax(texts: list[str], encode: Encode, most: int) -> list[Sequence[int]]:
    """Keep nouns, then adjectives, verbs and other words, in the order of the text."""
    return [encode(" ".join(most_important(*_tagged(text), most))) for text in texts]


_IMPORTANCE = {"NN": 1, "JJ": 2, "VB": 3}  # by the first two letters of a Penn Treebank tag


def most_important(words: Sequence[str], tags: Sequence[str], most: int) -> list[str]:
    """Return the `most` most important words, in their order. The first of equally important words are kept."""
    order = sorted(range(len(words)), key=lambda index: _IMPORTANCE.get(tags[index][:2], 4))
    return [words[index] for index in sorted(order[: max(most, 0)])]


def _tagged(text: str) -> tuple[list[str], list[str]]:
    """Return the words of a text and their part-of-speech tags. Nothing is downloaded.

    Raises:
        BuildError: nltk or its data is not installed.
    """
    try:
        import nltk  # type: ignore[import-not-found, unused-ignore]  # an optional library without type hints

        words: list[str] = nltk.tokenize.word_tokenize(text)
        return words, [tag for _, tag in nltk.pos_tag(words)]
    except (ImportError, LookupError) as error:
        reason = str(error).strip().partition("\n")[0].strip("* ") or "its data was not found"
        raise BuildError(
            f"reduction_mask='syntax' needs nltk and its data, which cannot be used: {reason}. Nothing was tokenised.",
            name="nltk",
            argument="reduction_mask",
            advice="Install them: pip install nltk && python -m nltk.downloader punkt_tab "
            "averaged_perceptron_tagger_eng.",
        ) from error


REDUCTIONS: dict[str, Reduction | None] = {
    "": None,
    "simple": _random_block,
    "random": partial(_random_tokens, shuffle=False),
    "shuffle": partial(_random_tokens, shuffle=True),
    "syntax": _by_syntax,
}
