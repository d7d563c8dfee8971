"""What a model tells of a picture: its content, and whatever else its architecture brings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry_core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CONTENT = "content"


@dataclass(frozen=True, slots=True)
class PictureAspects:
    """The features of pictures, an aspect each, and what their values are called.

    Attributes:
        features: pictures [N, 3, height, width] -> aspect -> normalised features [N, E]; "content" is one of them.
        labels: aspect -> texts that it is compared with; the caller gives those of the content.
    """

    features: Callable[[Tensor], Mapping[str, Tensor]]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Classified:
    """What one picture shows.

    Attributes:
        picture: as it was given.
        probabilities: aspect -> label -> probability, labels in the order in which they were given.
        error: why there are no probabilities; empty where there are.
    """

    picture: Any
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""

    @property
    def best(self) -> dict[str, str]:
        """Aspect -> its most probable label."""
        return {aspect: max(found, key=found.__getitem__) for aspect, found in self.probabilities.items()}

    def top(self, most: int | None = None) -> dict[str, dict[str, float]]:
        """Aspect -> label -> probability, the most probable first; `most` of each, or all."""
        return {
            aspect: dict(sorted(found.items(), key=lambda pair: -pair[1])[:most])
            for aspect, found in self.probabilities.items()
        }

    @classmethod
    def of(cls, picture: object, probabilities: Mapping[str, Mapping[str, float]]) -> Classified:
        """The result, which has an error instead where the probabilities are no numbers."""
        if all(math.isfinite(value) for found in probabilities.values() for value in found.values()):
            return cls(picture, probabilities)
        return cls(picture, error="the model's features of it are not finite numbers; try precision='fp32'")


def fault_of(answer: object) -> str | None:
    """What is wrong with what should be PictureAspects, or None."""
    if not isinstance(answer, PictureAspects):
        return f"a {type(answer).__name__}, expected PictureAspects or None"
    features: object = answer.features
    if not callable(features):
        return f"PictureAspects whose features are a {type(features).__name__}, expected a function"
    labels: object = answer.labels
    if not isinstance(labels, Mapping):
        return f"PictureAspects whose labels are a {type(labels).__name__}, expected a mapping"
    for aspect, texts in labels.items():
        if not _are_labels(texts):
            return f"labels of {aspect!r} that are no list of different texts: {texts!r:.60}"
    return None


def _are_labels(texts: object) -> bool:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        return False
    return bool(texts) and all(isinstance(text, str) for text in texts) and len({*texts}) == len(texts)


def labels_by_aspect(labels: object, own: PictureAspects | None, name: str) -> dict[str, list[str]]:
    """What each aspect is compared with; the content comes first, and is left out where nobody named labels.

    Args:
        labels: of the content.
        own: what the model brings, or None.
        name: the model's.

    Raises:
        InputError: no list of texts, or none at all where the model brings no other aspect.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence) or any(not isinstance(each, str) for each in labels):
        kind = type(labels).__name__
        raise InputError(f"labels must be a list of texts, got {kind} {labels!r:.60}. Nothing was classified.")
    if any(not each.strip() for each in labels):
        raise InputError("labels holds an empty text, which no prompt can name. Nothing was classified. Leave it out.")
    further = {aspect: list(names) for aspect, names in (own.labels if own else {}).items() if aspect != CONTENT}
    if not labels and not further:
        raise InputError(
            f"No labels were given, and {name} tells of nothing but the content of pictures. Nothing was classified. "
            "Give the labels to choose from, such as ['cat', 'dog']."
        )
    # A text given twice, as in ImageNet's list of names, is one label: its probability would be halved otherwise.
    return {**({CONTENT: list(dict.fromkeys(labels))} if labels else {}), **further}
