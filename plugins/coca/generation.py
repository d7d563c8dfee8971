"""Captions: what `CoCa.generate` does after it has checked its options and encoded the images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from registry_core import InputError, TextTower
from registry_core.towers import MultimodalTransformer

from .beam_search import BeamSearch
from .next_token import NextToken
from .options import GenerationOptions
from .scores import keep_top_k, keep_top_p, process


def generate(
    decoder: MultimodalTransformer,
    text_tower: TextTower,
    image_tokens: Tensor,
    text: Tensor | None,
    *,
    options: GenerationOptions,
    generator: torch.Generator | None,
) -> Tensor:
    """Generate texts for encoded images. The caller sets evaluation mode and disables gradients.

    Args:
        decoder: The text decoder.
        text_tower: The text tower, which returns features and tokens.
        image_tokens: Tokens of the images, [N, K, C].
        text: Token ids that the texts start with, [N, L] or [L]; None means the start token.
        options: Checked options.
        generator: Source of random numbers, on the device of the images; None means torch's own.

    Returns:
        Ids [N, L], int64, or [L] if `text` is [L] and there is one image.

    Raises:
        InputError: `text` is not a valid prompt for the images.
    """
    ids = _prompt_ids(text, image_tokens, options)
    next_token = NextToken(decoder, text_tower, image_tokens, options.window)
    if options.generation_type == "beam_search":
        ids = BeamSearch(next_token, options, ids.shape[0]).run(ids)
    else:
        ids = _sample(next_token, ids, options, generator)
    if options.fixed_output_length:
        ids = F.pad(ids, (0, options.seq_len - ids.shape[1]), value=options.pad)
    return ids[0] if text is not None and text.ndim == 1 and ids.shape[0] == 1 else ids


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Refuse anything but a generator for the device of the images, or None.

    Raises:
        InputError: The generator is something else, or is on another device.
    """
    given: object = generator
    if given is not None and not isinstance(given, torch.Generator):
        raise InputError(
            f"generator={given!r:.60}: expected a torch.Generator. Nothing was generated.",
            argument="generator",
            expected="a torch.Generator",
            found=given,
            advice=f"To use a number as the seed, give torch.Generator({str(device)!r}).manual_seed(7).",
        )
    if generator is not None and generator.device.type != device.type:
        raise InputError(
            f"The generator is on {generator.device}, but the images are on {device}. Nothing was generated.",
            argument="generator",
            expected=device,
            found=generator.device,
            advice=f"Create the generator on that device: torch.Generator({str(device)!r}).",
        )


def _sample(
    next_token: NextToken, ids: Tensor, options: GenerationOptions, generator: torch.Generator | None
) -> Tensor:
    """Extend texts [N, L] by random tokens until all of them have ended."""
    ends = torch.tensor((*options.eos, options.pad), device=ids.device)
    while ids.shape[1] < options.seq_len:
        unfinished = ~torch.isin(ids[:, -1], ends)
        if not unfinished.any():
            break
        token = ids.new_full((ids.shape[0],), options.pad)
        seen = ids[:, -options.max_seq_len :]  # the rules, and the test for the last token, count what the model sees
        if seen.shape[1] + 1 == options.seq_len:
            token[unfinished] = options.eos[0]
        else:
            scores = process(next_token.logits(ids)[unfinished], seen[unfinished], options)
            probabilities = (_keep_likeliest(scores, options) / options.temperature).softmax(dim=-1)
            token[unfinished] = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        ids = torch.cat([ids, token[:, None]], dim=1)
        if options.stops(ids):
            break
    return ids


def _keep_likeliest(scores: Tensor, options: GenerationOptions) -> Tensor:
    if options.generation_type == "top_k":
        return keep_top_k(scores, options.top_k)
    return keep_top_p(scores, options.top_p)


def _prompt_ids(text: Tensor | None, image_tokens: Tensor, options: GenerationOptions) -> Tensor:
    """Return the ids [N, L] that the texts of N images start with."""
    images, device = image_tokens.shape[0], image_tokens.device
    if text is None:
        return torch.full((images, 1), options.sot, device=device)
    _check_whole_numbers(text)
    ids = text.to(device, torch.long)
    if ids.ndim == 1:
        ids = ids.expand(images, -1)
    if ids.ndim != 2 or ids.shape[0] != images or not 0 < ids.shape[1] < options.seq_len:  # noqa: PLR2004 - N, L
        raise InputError(
            f"text must hold the ids that the texts start with: expected shape [{images}, L] or [L], with L from 1 to "
            f"{options.seq_len - 1} (seq_len is {options.seq_len}), got {list(text.shape)}. Nothing was generated.",
            argument="text",
            expected=f"[{images}, L] or [L], with L from 1 to {options.seq_len - 1}",
            found=list(text.shape),
            advice="Leave out the end token and the padding that a tokenizer adds.",
        )
    _check_vocabulary(ids, options.vocab_size)
    return ids


def _check_whole_numbers(text: object) -> None:
    if isinstance(text, Tensor) and not text.is_floating_point():
        return
    found = str(text.dtype) if isinstance(text, Tensor) else type(text).__name__
    raise InputError(
        f"text must hold token ids: expected a tensor of whole numbers, got {found}. Nothing was generated.",
        argument="text",
        expected="a tensor of whole numbers",
        found=found,
    )


def _check_vocabulary(ids: Tensor, vocab_size: int) -> None:
    least, most = (int(ids.min()), int(ids.max())) if ids.shape[0] else (0, 0)
    if least < 0 or most >= vocab_size:
        raise InputError(
            f"text holds ids from {least} to {most}, but the model knows the ids from 0 to {vocab_size - 1}. Nothing "
            "was generated.",
            argument="text",
            expected=(0, vocab_size - 1),
            found=(least, most),
            advice="Check that the ids are from this model's tokenizer.",
        )
