"""Captions: what `CoCa.generate` does once its options are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from registry_core import InputError
from registry_core.evaluation import evaluating

from .beam_search import BeamSearch
from .next_token import NextToken
from .options import GenerationOptions
from .scores import keep_top_k, keep_top_p, process

if TYPE_CHECKING:
    from .model import CoCa


def generate(
    model: CoCa, image: Tensor, text: Tensor | None, options: GenerationOptions, generator: torch.Generator | None
) -> Tensor:
    """Texts for pictures; in evaluation mode, without gradients.

    Raises:
        InputError: pictures, beginnings or generator that do not fit.
    """
    _check_generator(generator, image.device)
    with evaluating(model), torch.no_grad():
        image_tokens = model.image_outputs(image)[1]
        ids = _beginnings(text, image_tokens, options)
        step = NextToken(model, image_tokens, options.window)
        if options.generation_type == "beam_search":
            ids = BeamSearch(step, options, ids.shape[0]).run(ids)
        else:
            ids = _sample(step, ids, options, generator)
    if options.fixed_output_length:
        ids = F.pad(ids, (0, options.seq_len - ids.shape[1]), value=options.pad)
    return ids[0] if text is not None and text.ndim == 1 and ids.shape[0] == 1 else ids


def _sample(step: NextToken, ids: Tensor, options: GenerationOptions, generator: torch.Generator | None) -> Tensor:
    """Grow texts [N, L] by drawing tokens until all have ended."""
    ends = torch.tensor((*options.eos, options.pad), device=ids.device)
    while ids.shape[1] < options.seq_len:
        going = ~torch.isin(ids[:, -1], ends)
        if not going.any():
            break
        token = ids.new_full((ids.shape[0],), options.pad)
        seen = ids[:, -options.max_seq_len :]  # the rules count what the model sees; so does the one for the last token
        if seen.shape[1] + 1 == options.seq_len:
            token[going] = options.eos[0]
        else:
            scores = _narrowed(process(step.logits(ids)[going], seen[going], options), options)
            chances = (scores / options.temperature).softmax(dim=-1)
            token[going] = torch.multinomial(chances, 1, generator=generator)[:, 0]
        ids = torch.cat([ids, token[:, None]], dim=1)
        if options.stops(ids):
            break
    return ids


def _narrowed(scores: Tensor, options: GenerationOptions) -> Tensor:
    if options.generation_type == "top_k":
        return keep_top_k(scores, options.top_k)
    return keep_top_p(scores, options.top_p)


def _beginnings(text: Tensor | None, image_tokens: Tensor, options: GenerationOptions) -> Tensor:
    """Ids [N, L] that the texts of N pictures start with."""
    pictures, device = image_tokens.shape[0], image_tokens.device
    if text is None:
        return torch.full((pictures, 1), options.sot, device=device)
    given: object = text
    if not isinstance(given, Tensor) or given.is_floating_point():
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise InputError(
            f"text holds token ids: expected a tensor of whole numbers, got {kind}. Nothing was generated."
        )
    ids = text.to(device, torch.long)
    if ids.ndim == 1:
        ids = ids.expand(pictures, -1)
    if ids.ndim != 2 or ids.shape[0] != pictures or not 0 < ids.shape[1] < options.seq_len:  # noqa: PLR2004 - N, L
        raise InputError(
            f"text holds what the texts start with: ids of shape [{pictures}, L] or [L], L from 1 to "
            f"{options.seq_len - 1} (seq_len is {options.seq_len}); got {list(text.shape)}. Nothing was generated. "
            "Leave out the end token and the padding that a tokenizer adds."
        )
    least, most = (int(ids.min()), int(ids.max())) if pictures else (0, 0)
    if least < 0 or most >= options.vocab_size:
        raise InputError(
            f"text holds ids from {least} to {most}; the model knows 0 to {options.vocab_size - 1}. Nothing was "
            "generated. Is it another model's tokenizer?"
        )
    return ids


def _check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    given: object = generator
    if given is not None and not isinstance(given, torch.Generator):
        raise InputError(
            f"generator={given!r:.60}: expected a torch.Generator. Nothing was generated. Of a number, make one: "
            f"torch.Generator({str(device)!r}).manual_seed(7)."
        )
    if generator is not None and generator.device.type != device.type:
        raise InputError(
            f"The generator is on {generator.device}, the pictures are on {device}. Nothing was generated. Make it "
            f"there: torch.Generator({str(device)!r})."
        )
