"""Aspects: what a model predicts for an image. Content is one; an architecture can provide others, like degradation."""

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
class ImageAspects:
    """The aspects of images that a model predicts: their features and labels.

    Attributes:
        features: Images [N, 3, height, width] -> aspect -> normalised features [N, E]. One of the aspects is "content".
        labels: Aspect -> the texts that its features are compared with. The caller gives the labels of the content.
    """

    features: Callable[[Tensor], Mapping[str, Tensor]]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Classified:
    """The result for one image.

    Attributes:
        image: The image, as the caller gave it.
        probabilities: Aspect -> label -> probability, labels in the order in which they were given.
        error: Why there are no probabilities. Empty if there are some.
    """

    image: Any
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""

    @property
    def best(self) -> dict[str, str]:
        """The most probable label of each aspect: aspect -> label."""
        return {aspect: max(values, key=values.__getitem__) for aspect, values in self.probabilities.items()}

    def top(self, most: int | None = None) -> dict[str, dict[str, float]]:
        """Return aspect -> label -> probability, the most probable label first.

        Args:
            most: Labels of each aspect; None means all.
        """
        return {
            aspect: dict(sorted(values.items(), key=lambda pair: -pair[1])[:most])
            for aspect, values in self.probabilities.items()
        }

    @classmethod
    def of(cls, image: object, probabilities: Mapping[str, Mapping[str, float]]) -> Classified:
        """Return the result for an image. If a probability is not finite, it has an error instead of probabilities."""
        if all(math.isfinite(value) for values in probabilities.values() for value in values.values()):
            return cls(image, probabilities)
        return cls(image, error="the model's features of this image are not finite numbers; try precision='fp32'")


def fault_of(answer: object) -> str | None:
    """Return what is wrong with a plugin's answer to `build_aspects`, or None if it is a valid ImageAspects."""
    if not isinstance(answer, ImageAspects):
        return f"a {type(answer).__name__}, expected ImageAspects or None"
    features: object = answer.features
    if not callable(features):
        return f"an ImageAspects whose features are a {type(features).__name__}, expected a function"
    labels: object = answer.labels
    if not isinstance(labels, Mapping):
        return f"an ImageAspects whose labels are a {type(labels).__name__}, expected a mapping"
    for aspect, texts in labels.items():
        if not _are_labels(texts):
            return f"labels of {aspect!r} that are not a list of different strings: {texts!r:.60}"
    return None


def _are_labels(texts: object) -> bool:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        return False
    return bool(texts) and all(isinstance(text, str) for text in texts) and len({*texts}) == len(texts)


def labels_by_aspect(labels: object, own: ImageAspects | None, name: str) -> dict[str, list[str]]:
    """Return aspect -> its labels, the content first. Without labels from the caller, the content is left out.

    Args:
        labels: Labels of the content, from the caller.
        own: The aspects that the model predicts, or None for the content alone.
        name: Name of the model, for messages.

    Raises:
        InputError: The labels are not a list of strings, or one is empty. Or there are no labels, and the model
            predicts no other aspect.
    """
    labels = _checked_labels(labels)
    further = {aspect: list(texts) for aspect, texts in (own.labels if own else {}).items() if aspect != CONTENT}
    if not labels and not further:
        raise InputError(
            f"No labels were given, and {name} predicts only the content of images. Nothing was classified.",
            name=name,
            argument="labels",
            advice="Give the labels to choose from, such as ['cat', 'dog'].",
        )
    # Repeated labels, as in ImageNet's class names, would share one label's probability.
    return {**({CONTENT: list(dict.fromkeys(labels))} if labels else {}), **further}


def _checked_labels(labels: object) -> Sequence[str]:
    if isinstance(labels, str) or not isinstance(labels, Sequence) or any(not isinstance(each, str) for each in labels):
        kind = type(labels).__name__
        raise InputError(
            f"labels must be a list of strings, got {kind} {labels!r:.60}. Nothing was classified.",
            argument="labels",
            expected="a list of strings",
            found=labels,
        )
    if any(not each.strip() for each in labels):
        raise InputError(
            "labels contains an empty string, which cannot be used in a prompt. Nothing was classified.",
            argument="labels",
            found=labels,
            advice="Leave it out.",
        )
    return labels
