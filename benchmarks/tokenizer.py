"""Compare the processor time of CLIP's tokenizer with open_clip's, on texts that neither has seen.

    python benchmarks/tokenizer.py [--captions 500] [--rounds 7] [--only ascii|others|mojibake]

Both tokenize the same captions in turn, and each round has new captions. The word caches of both are emptied before
each run, so only a word that occurs twice in a run is cached. Both use one thread, so processor time is wall time. The
ids are compared in each round. The exit status is 1 if a factor misses its target, or if ids differ.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import torch
from measure import median
from open_clip.tokenizer import SimpleTokenizer
from phrases import ASCII, MOJIBAKE, OTHERS

from registry_core.tokenizers.clip_bpe import ClipTokenizer

Generator = Callable[[Random], str]


@dataclass(frozen=True)
class Kind:
    """Captions of one kind, and the target for the factor.

    Attributes:
        name: Name of the kind.
        make: Makes a caption.
        target: How many times faster than open_clip's tokenizer ours should be.
        one_by_one: Tokenize each caption in a separate call.
    """

    name: str
    make: Generator
    target: float
    one_by_one: bool = False


@dataclass
class Pair:
    """Both tokenizers."""

    ours: ClipTokenizer = field(default_factory=ClipTokenizer)
    theirs: SimpleTokenizer = field(default_factory=SimpleTokenizer)

    def forget(self) -> None:
        """Empty the word caches."""
        self.ours._vocabulary.words.forget()  # noqa: SLF001
        self.theirs.cache = {special: special for special in ("<start_of_text>", "<end_of_text>")}


def kinds(only: str | None) -> list[Kind]:
    groups = {
        "ascii": [Kind(f"ASCII, {name}", make, 10) for name, make in ASCII.items()]
        + [Kind(f"ASCII, {name}, one a call", make, 10, one_by_one=True) for name, make in ASCII.items()],
        "others": [Kind(name, make, 3) for name, make in OTHERS.items()],
        "mojibake": [Kind(f"mojibake: {name}", make, 3) for name, make in MOJIBAKE.items()],
    }
    return [kind for group, members in groups.items() if only in {None, group} for kind in members]


def timed(tokenizer: Callable[..., torch.Tensor], kind: Kind, texts: list[str]) -> tuple[float, torch.Tensor]:
    """Return the seconds and the ids."""
    start = time.process_time()
    ids = [tokenizer(text) for text in texts] if kind.one_by_one else [tokenizer(texts)]
    return time.process_time() - start, torch.cat(ids)


def measure(kind: Kind, pair: Pair, captions: int, rounds: int) -> tuple[float, float, float, bool]:
    """Return medians: microseconds per caption of both, and the factor. Also return whether all ids were equal."""
    ours, theirs, factors, equal = [], [], [], True
    for number in range(rounds + 1):
        r = Random(f"{kind.name} {number}")  # noqa: S311 - not used for security
        texts = [kind.make(r) for _ in range(captions)]
        pair.forget()
        mine, my_ids = timed(pair.ours, kind, texts)
        other, other_ids = timed(pair.theirs, kind, texts)
        equal &= torch.equal(my_ids, other_ids)
        if number:  # the first round warms up
            ours.append(mine / captions * 1e6)
            theirs.append(other / captions * 1e6)
            factors.append(other / mine)
    return median(ours), median(theirs), median(factors), equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["ascii", "others", "mojibake"])
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    pair, missed = Pair(), False
    print(f"{'captions':52} {'ours':>8} {'theirs':>8} {'factor':>7} {'target':>7}   (microseconds a caption)")
    for kind in kinds(given.only):
        ours, theirs, factor, equal = measure(kind, pair, given.captions, given.rounds)
        reached = equal and factor >= kind.target
        missed |= not reached
        verdict = "" if reached else "   ids differ" if not equal else "   missed"
        print(f"{kind.name:52} {ours:8.1f} {theirs:8.1f} {factor:7.1f} {kind.target:7.0f}{verdict}", flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main()
