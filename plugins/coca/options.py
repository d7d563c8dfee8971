"""What can be asked of `CoCa.generate`, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from registry_core import InputError
from registry_core.errors import did_you_mean

Ids = int | Sequence[int] | Tensor
Criterion = Callable[[Tensor, None], bool | Tensor]

GENERATION_TYPES = ("beam_search", "top_p", "top_k")
CLIP_START, CLIP_END = 49406, 49407


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """The options of `CoCa.generate`, which explains them.

    Attributes:
        vocab_size: the ids that there are.
        pad, sot: one id.
        eos: one id or several.
    """

    vocab_size: int
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
        ranges = {
            "seq_len": (self.seq_len > self.min_seq_len, f"more than min_seq_len, {self.min_seq_len}"),
            "max_seq_len": (self.max_seq_len > 0, "more than 0"),
            "temperature": (self.temperature > 0, "more than 0"),
            "top_p": (0 < self.top_p <= 1, "more than 0 and at most 1"),
            "top_k": (self.top_k > 0, "more than 0"),
            "num_beams": (
                self.num_beams > 0 and self.num_beam_groups > 0 and self.num_beams % self.num_beam_groups == 0,
                f"a multiple of num_beam_groups, {self.num_beam_groups} (1 makes it a plain beam search)",
            ),
            "repetition_penalty": (self.repetition_penalty > 0, "more than 0"),
        }
        for name, (holds, expected) in ranges.items():
            if not holds:
                raise InputError(f"{name}={getattr(self, name)!r}: expected {expected}. Nothing was generated.")
        self._check_ids()
        return self

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

    def stops(self, ids: Tensor) -> bool:
        """Whether, for each text of `ids` [N, L], one of the stopping criteria is met."""
        met = ids.new_zeros(ids.shape[0]).bool()
        for criterion in self.stopping_criteria:
            met = met | criterion(ids, None)
        return bool(met.all())


def as_ids(value: Ids | None, default: int) -> tuple[int, ...]:
    """Token ids, however they were given."""
    if value is None:
        return (default,)
    if isinstance(value, Tensor):
        return tuple(value.flatten().tolist())
    return (value,) if isinstance(value, int) else tuple(value)
