"""Processor time of `CoCa.generate`, against running text tower and decoder over the whole text at each step.

One thread, so that other programs on the machine change little.

python benchmarks/captions.py [--model coca_ViT-B-32] [--pictures 4] [--length 30]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch
from registry_plugins.coca import generation
from registry_plugins.coca.next_token import NextToken

from registry_core import registry

if TYPE_CHECKING:
    from registry_plugins.coca.model import CoCa
    from torch import Tensor


class Recomputing(NextToken):
    """Keeps nothing of a text, and of the pictures their tokens alone, once for each beam."""

    def __init__(self, model: CoCa, image_tokens: Tensor, window: int) -> None:
        super().__init__(model, image_tokens, window)
        self.model, self.image_tokens = model, image_tokens

    def logits(self, ids: Tensor) -> Tensor:
        """[R, L] -> [R, V]."""
        tokens = self.image_tokens.repeat_interleave(ids.shape[0] // len(self.image_tokens), dim=0)
        outputs = self.model(None, ids, image_latent=tokens, image_embs=tokens, output_labels=False)
        return outputs["logits"][:, -1].float()

    def take(self, rows: Tensor) -> None:
        """Nothing is kept that had to be put in order."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="coca_ViT-B-32")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--length", type=int, default=30)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = registry.create(given.model, False)
    image = torch.randn(given.pictures, 3, *model.config.image_size)
    ways = {
        "top_k": {"generation_type": "top_k"},
        "one group of 6 beams": {"num_beams": 6, "num_beam_groups": 1},
        "3 groups of 2 beams, diverse": {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1e-9},
        "3 groups of 2 beams, open_clip's usual": {"num_beams": 6, "num_beam_groups": 3},
    }
    for way, options in ways.items():
        taken, texts = {}, {}
        for step in (NextToken, Recomputing):
            generation.NextToken = step
            began = time.process_time()
            texts[step] = model.generate(image, seq_len=given.length, min_seq_len=given.length - 1, **options)
            taken[step] = time.process_time() - began
        same = torch.equal(*texts.values())
        fast, slow = taken.values()
        print(f"{way}: {fast:.2f} s, recomputing {slow:.2f} s, {slow / fast:.1f} times faster, same texts: {same}")


if __name__ == "__main__":
    main()
