"""Compare the processor time of `CoCa.generate` with running text tower and decoder over the whole text in each step.

It uses one thread, so that other programs on the machine change the figures little.

python benchmarks/captions.py [--model coca_ViT-B-32] [--images 4] [--length 30]
"""

from __future__ import annotations

import argparse
import time

import torch
from registry_plugins.coca import generation
from registry_plugins.coca.next_token import NextToken
from torch import Tensor

from registry_core import TextTower, registry
from registry_core.towers import MultimodalTransformer


class Recomputing(NextToken):
    """Keeps nothing of a text. Of the images it keeps only the tokens, which it repeats for each beam."""

    def __init__(
        self, decoder: MultimodalTransformer, text_tower: TextTower, image_tokens: Tensor, window: int
    ) -> None:
        super().__init__(decoder, text_tower, image_tokens, window)
        self.decoder, self.text_tower, self.image_tokens = decoder, text_tower, image_tokens

    def logits(self, ids: Tensor) -> Tensor:
        """Return the logits [R, V] of the token after each text of `ids` [R, L]."""
        image_tokens = self.image_tokens.repeat_interleave(ids.shape[0] // len(self.image_tokens), dim=0)
        return self.decoder(image_tokens, self.text_tower(ids)[1])[:, -1].float()

    def take(self, rows: Tensor) -> None:
        """Do nothing: no text is kept, so nothing has to be reordered."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="coca_ViT-B-32")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--length", type=int, default=30)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = registry.create(given.model, False)
    image = torch.randn(given.images, 3, *model.config.image_size)
    cases = {
        "top_k": {"generation_type": "top_k"},
        "one group of 6 beams": {"num_beams": 6, "num_beam_groups": 1},
        "3 groups of 2 beams, diverse": {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1e-9},
        "3 groups of 2 beams, open_clip's default": {"num_beams": 6, "num_beam_groups": 3},
    }
    for case, options in cases.items():
        times, texts = {}, {}
        for step in (NextToken, Recomputing):
            generation.NextToken = step
            start = time.process_time()
            texts[step] = model.generate(image, seq_len=given.length, min_seq_len=given.length - 1, **options)
            times[step] = time.process_time() - start
        same = torch.equal(*texts.values())
        fast, slow = times.values()
        print(f"{case}: {fast:.2f} s, recomputing {slow:.2f} s, {slow / fast:.1f} times faster, same texts: {same}")


if __name__ == "__main__":
    main()
