"""What can be asked of `CoCa.generate`, checked before anything is computed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from registry_core import InputError
from registry_core.errors import did_you_mean

Ids = int | Sequence[int] | Tensor
Criterion = Callable[[Tensor, None], bool | Tensor]

# Options that count for all ways of generating, and those that count for one; the others may be anything.
_COMMON = ("seq_len", "max_seq_len", "min_seq_len", "repetition_penalty")
_OWN = {
    "beam_search": ("num_beams", "num_beam_groups", "diversity_penalty"),
    "top_p": ("temperature", "top_p"),
    "top_k": ("temperature", "top_k"),
}
GENERATION_TYPES = tuple(_OWN)
_WHOLE = frozenset({"seq_len", "max_seq_len", "min_seq_len", "top_k", "num_beams", "num_beam_groups"})
CLIP_START, CLIP_END = 49406, 49407


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """The options of `CoCa.generate`, which explains them.

    Attributes:
        vocab_size: the ids that there are.
        context_length: most tokens that the model can look at.
        pad, sot: one id.
        eos: one id or several.
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
        """The options, if they can be followed.

        Raises:
            InputError: one is out of range.
        """
        if self.generation_type not in GENERATION_TYPES:
            raise InputError(
                f"generation_type={self.generation_type!r} is unknown."
                f"{did_you_mean(str(self.generation_type), GENERATION_TYPES)} Expected one of "
                f"{', '.join(GENERATION_TYPES)}. Nothing was generated."
            )
        used = (*_COMMON, *_OWN[self.generation_type])
        changes: dict[str, Any] = {name: _number(name, getattr(self, name)) for name in used}
        numbers = replace(self, **changes)
        for name, (holds, expected) in _RANGES.items():
            if name in used and not holds(numbers):
                value = getattr(self, name)
                raise InputError(f"{name}={value!r}: expected {expected.format(o=self)}. Nothing was generated.")
        self._check_ids()
        return numbers

    def _check_ids(self) -> None:
        given = {"sot_token_id": (self.sot,), "eos_token_id": self.eos, "pad_token_id": (self.pad,)}
        for name, ids in given.items():
            if not ids or not all(0 <= token < self.vocab_size for token in ids):
                raise InputError(
                    f"{name} is {', '.join(map(str, ids)) or 'empty'}; the model writes ids from 0 to "
                    f"{self.vocab_size - 1}. Nothing was generated. Unless they are given, start and end are CLIP's "
                    f"{CLIP_START} and {CLIP_END}; give those of the model's tokenizer."
                )
        if len(self.eos) >= self.vocab_size:
            raise InputError(
                "eos_token_id names every id that there is, so no text could go on. Nothing was generated."
            )

    @property
    def groups(self) -> int:
        """Beam groups to run: without a penalty on what others chose, all would find the same."""
        return self.num_beam_groups if self.diversity_penalty else 1

    @property
    def window(self) -> int:
        """How many of a text's last tokens the model looks at; in beam search `max_seq_len` has no say."""
        beams = self.generation_type == "beam_search"
        return self.context_length if beams else min(self.max_seq_len, self.context_length)

    @property
    def longest(self) -> int:
        """Most tokens of a text: criteria that count tokens, as transformers' do, say so by their `max_length`."""
        lengths = [getattr(criterion, "max_length", None) for criterion in self.stopping_criteria]
        return min([self.seq_len, *(length for length in lengths if isinstance(length, int))])

    def stops(self, ids: Tensor) -> bool:
        """Whether, for each text of `ids` [N, L], one of the stopping criteria is met."""
        met = ids.new_zeros(ids.shape[0]).bool()
        for criterion in self.stopping_criteria:
            met = met | _answers(criterion(ids, None), met)
        return bool(met.all())


# What must hold of an option, and what to expect otherwise; of the options as `o`.
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
    """Token ids, however they were given.

    Args:
        name: of the option, for the message.
        value: one id or several, as numbers of Python, NumPy or torch.
        default: the id where None was given.

    Raises:
        InputError: something that is no whole number.
    """
    if value is None:
        return (default,)
    given: Any = value.flatten().tolist() if isinstance(value, Tensor) else value
    try:
        return tuple(map(operator.index, given if isinstance(given, Iterable) else (given,)))
    except TypeError as error:
        raise InputError(
            f"{name}={value!r}: expected token ids, which are whole numbers. Nothing was generated."
        ) from error


def as_id(name: str, value: Ids | None, default: int) -> int:
    """The one token id, however it was given.

    Raises:
        InputError: something that is no whole number, or several.
    """
    ids = as_ids(name, value, default)
    if len(ids) != 1:
        raise InputError(f"{name}={value!r}: expected one token id. Nothing was generated.")
    return ids[0]


def as_criteria(value: Any) -> tuple[Criterion, ...]:
    """Stopping criteria, or none.

    Raises:
        InputError: no list of functions.
    """
    if value is None:
        return ()
    criteria = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(map(callable, criteria)):
        raise InputError(f"stopping_criteria={value!r:.60}: expected a list of functions. Nothing was generated.")
    return criteria


def _answers(given: Any, texts: Tensor) -> Tensor:
    """What a stopping criterion said, for each of the `texts` [N]."""
    try:
        if given is None:
            raise TypeError  # noqa: TRY301 - torch would take it for false
        return torch.as_tensor(given, dtype=torch.bool, device=texts.device).expand(texts.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"A stopping criterion answered {given!r:.60}: expected true or false, or a tensor of them for the "
            f"{len(texts)} texts that are written at a time. Nothing was generated."
        ) from error


def _number(name: str, value: Any) -> float:
    """An option as a number of Python's own."""
    whole = name in _WHOLE
    try:
        if isinstance(value, str):
            raise TypeError  # noqa: TRY301 - float() would read it
        return operator.index(value) if whole else float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        expected = "a whole number" if whole else "a number"
        raise InputError(f"{name}={value!r}: expected {expected}. Nothing was generated.") from error
