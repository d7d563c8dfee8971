"""The options of `CoCa.generate`, checked before anything is computed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from registry_core import InputError
from registry_core.errors import unknown_choice

Ids = int | Sequence[int] | Tensor
Criterion = Callable[[Tensor, None], bool | Tensor]

# Options that all generation types use, and those that one type uses. Options that are not used are not checked.
_USED_BY_ALL = ("seq_len", "max_seq_len", "min_seq_len", "repetition_penalty")
_USED_BY_TYPE = {
    "beam_search": ("num_beams", "num_beam_groups", "diversity_penalty"),
    "top_p": ("temperature", "top_p"),
    "top_k": ("temperature", "top_k"),
}
GENERATION_TYPES = tuple(_USED_BY_TYPE)
_WHOLE_NUMBERS = frozenset({"seq_len", "max_seq_len", "min_seq_len", "top_k", "num_beams", "num_beam_groups"})
CLIP_START, CLIP_END = 49406, 49407


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """The options of `CoCa.generate`, which documents them.

    Attributes:
        vocab_size: Number of token ids.
        context_length: Maximum number of tokens that the model sees.
        pad: The id that fills up finished texts.
        sot: The id that starts a text.
        eos: One or several ids that end a text.
    """

    vocab_size: int
    context_length: int
    pad: int
    eos: tuple[int, ...]
    sot: int
    seq_len: int
    max_seq_len: int
    min_seq_len: int
    generation_type: str
    temperature: float
    top_p: float
    top_k: int
    num_beams: int
    num_beam_groups: int
    diversity_penalty: float
    repetition_penalty: float
    stopping_criteria: tuple[Criterion, ...]
    fixed_output_length: bool

    def checked(self) -> GenerationOptions:
        """Return the options with Python's own numbers.

        Raises:
            InputError: An option is unknown, has the wrong type or is out of range.
        """
        self._check_generation_type()
        used = (*_USED_BY_ALL, *_USED_BY_TYPE[self.generation_type])
        changes: dict[str, Any] = {name: _number(name, getattr(self, name)) for name in used}
        numbers = replace(self, **changes)
        for name, (holds, expected) in _RANGES.items():
            if name in used and not holds(numbers):
                raise _refusal(name, getattr(self, name), expected.format(o=self))
        self._check_ids()
        return numbers

    def _check_generation_type(self) -> None:
        given: Any = self.generation_type
        if given not in GENERATION_TYPES:
            raise unknown_choice(InputError, "generation_type", given, GENERATION_TYPES, "Nothing was generated.")

    def _check_ids(self) -> None:
        given = {"sot_token_id": (self.sot,), "eos_token_id": self.eos, "pad_token_id": (self.pad,)}
        for name, ids in given.items():
            if not ids or not all(0 <= token < self.vocab_size for token in ids):
                raise InputError(
                    f"{name} is {', '.join(map(str, ids)) or 'empty'}, but the model writes ids from 0 to "
                    f"{self.vocab_size - 1}. Nothing was generated. By default, the start and end ids are CLIP's "
                    f"{CLIP_START} and {CLIP_END}.",
                    argument=name,
                    expected=(0, self.vocab_size - 1),
                    found=ids,
                    advice="Give the ids of the model's tokenizer.",
                )
        if len(self.eos) >= self.vocab_size:
            raise InputError(
                "eos_token_id holds every id of the vocabulary, so no text could continue. Nothing was generated.",
                argument="eos_token_id",
                found=self.eos,
            )

    @property
    def groups(self) -> int:
        """Number of beam groups to run. Without a diversity penalty all groups find the same texts, so one is run."""
        return self.num_beam_groups if self.diversity_penalty else 1

    @property
    def window(self) -> int:
        """Number of last tokens of a text that the model sees. Beam search ignores `max_seq_len`."""
        beams = self.generation_type == "beam_search"
        return self.context_length if beams else min(self.max_seq_len, self.context_length)

    @property
    def longest(self) -> int:
        """Maximum length of a text. Criteria that count tokens, such as transformers' own, have a `max_length`."""
        lengths = [getattr(criterion, "max_length", None) for criterion in self.stopping_criteria]
        return min([self.seq_len, *(length for length in lengths if isinstance(length, int))])

    def stops(self, ids: Tensor) -> bool:
        """Whether each text of `ids` [N, L] meets one of the stopping criteria."""
        met = ids.new_zeros(ids.shape[0]).bool()
        for criterion in self.stopping_criteria:
            met = met | _as_booleans(criterion(ids, None), met)
        return bool(met.all())


# Option -> a test of all options, and the expected value for the message, formatted with the options as `o`.
_RANGES: dict[str, tuple[Callable[[GenerationOptions], bool], str]] = {
    "seq_len": (lambda o: o.seq_len > o.min_seq_len, "more than min_seq_len, {o.min_seq_len}"),
    "max_seq_len": (lambda o: o.max_seq_len > 0, "more than 0"),
    "temperature": (lambda o: 0 < o.temperature < math.inf, "more than 0, and finite"),
    "top_p": (lambda o: 0 <= o.top_p <= 1, "from 0 to 1"),
    "top_k": (lambda o: o.top_k > 0, "more than 0"),
    "num_beams": (
        lambda o: o.num_beams > 0 and o.num_beam_groups > 0 and o.num_beams % o.num_beam_groups == 0,
        "a multiple of num_beam_groups, {o.num_beam_groups} (1 makes it a plain beam search)",
    ),
    "repetition_penalty": (lambda o: o.repetition_penalty > 0, "more than 0"),
    "diversity_penalty": (lambda o: math.isfinite(o.diversity_penalty), "a finite number"),
}


def as_ids(name: str, value: Ids | None, default: int) -> tuple[int, ...]:
    """Return token ids as a tuple.

    Args:
        name: Name of the option, for the message.
        value: One id or several, as numbers of Python, NumPy or torch.
        default: The id that None means.

    Raises:
        InputError: An id is not a whole number.
    """
    if value is None:
        return (default,)
    given: Any = value.flatten().tolist() if isinstance(value, Tensor) else value
    try:
        return tuple(map(operator.index, given if isinstance(given, Iterable) else (given,)))
    except TypeError as error:
        raise _refusal(name, value, "token ids, which are whole numbers") from error


def as_id(name: str, value: Ids | None, default: int) -> int:
    """Return one token id.

    Args:
        name: Name of the option, for the message.
        value: The id, as a number of Python, NumPy or torch.
        default: The id that None means.

    Raises:
        InputError: The value is not a whole number, or holds several.
    """
    ids = as_ids(name, value, default)
    if len(ids) != 1:
        raise _refusal(name, value, "one token id")
    return ids[0]


def as_criteria(value: Any) -> tuple[Criterion, ...]:
    """Return stopping criteria as a tuple, which is empty for None.

    Raises:
        InputError: The value is not a list of functions.
    """
    if value is None:
        return ()
    criteria = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(map(callable, criteria)):
        raise _refusal("stopping_criteria", value, "a list of functions")
    return criteria


def _as_booleans(answer: Any, texts: Tensor) -> Tensor:
    """Return the answer of a stopping criterion, for each of the `texts` [N]."""
    try:
        if answer is None:
            raise TypeError  # noqa: TRY301 - torch would take it for False
        return torch.as_tensor(answer, dtype=torch.bool, device=texts.device).expand(texts.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"A stopping criterion returned {answer!r:.60}: expected True or False, or a tensor of these for the "
            f"{len(texts)} texts that are written together. Nothing was generated.",
            argument="stopping_criteria",
            expected=f"True or False, or a tensor of these for {len(texts)} texts",
            found=answer,
        ) from error


def _number(name: str, value: Any) -> float:
    """Return an option as one of Python's own numbers."""
    whole = name in _WHOLE_NUMBERS
    try:
        if isinstance(value, str):
            raise TypeError  # noqa: TRY301 - float() would read it
        return operator.index(value) if whole else float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refusal(name, value, "a whole number" if whole else "a number") from error


def _refusal(name: str, value: Any, expected: str) -> InputError:
    return InputError(
        f"{name}={value!r:.60}: expected {expected}. Nothing was generated.",
        argument=name,
        expected=expected,
        found=value,
    )
