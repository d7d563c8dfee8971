"""Images -> the probability of each label, aspect by aspect.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1; models with a logit bias: Zhai et al. 2023,
https://arxiv.org/abs/2303.15343.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from registry_core.arguments import whole_number
from registry_core.errors import BuildError, InputError, PluginError, RegistryError, listing
from registry_core.towers.eval_mode import evaluating
from registry_core.zero_shot.aspects import CONTENT, Classified, ImageAspects, labels_by_aspect
from registry_core.zero_shot.image_files import read_image
from registry_core.zero_shot.prompts import Template, build_zero_shot_classifier, device_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.towers.protocols import TwoTowerModel

    ImageSource = str | os.PathLike[str] | Image

DEFAULT_TEMPLATES = ("a photo of a {}.",)
_LABEL_ALONE = ("{}",)


@dataclass(frozen=True, slots=True)
class ClassifiedModel:
    """A created model, with everything that classifying images takes.

    Attributes:
        model: The model.
        name: Its name, for messages.
        precision: Its precision, as `create` takes it.
        transform: PIL image -> [3, height, width].
        tokenizer: Texts -> token ids [N, L].
        aspects: The aspects that it predicts according to its plugin, or None for the content alone.
        plugin: The plugin that owns the model, with its distribution, as in "daclip (registry_core 0.1.0)".
        location: The module of that plugin.
    """

    model: nn.Module
    name: str
    precision: str
    transform: Callable[[Image], Tensor]
    tokenizer: Callable[[str | list[str]], Tensor]
    aspects: ImageAspects | None
    plugin: str
    location: str


@dataclass(frozen=True, slots=True)
class _Head:
    """The labels of an aspect, and their weights [E, labels], float32."""

    labels: list[str]
    weights: Tensor


class Classifier:
    """Images -> probabilities. The labels are encoded once, when the classifier is made.

    It computes in evaluation mode and leaves the model in the mode that it was in.

    Args:
        about: The model, with its transform, tokenizer and aspects.
        labels: Labels of the content. May be empty only if the model predicts another aspect.
        templates: Prompts for the labels of the content, with `{}` in place of the label, or functions from a label to
            a prompt; None means DEFAULT_TEMPLATES.
        batch_size: Images that are encoded together.

    Attributes:
        independent: Whether each probability is a sigmoid of its own, as in a model with a logit bias. Otherwise the
            probabilities of an aspect are a softmax and add up to 1.

    Raises:
        InputError: The labels, templates or batch size are invalid.
        BuildError: The model lacks a tower, the logit scale or (device="meta") all values, or a library is missing.
        PluginError: The plugin's answer is not a valid ImageAspects.
    """

    def __init__(
        self,
        about: ClassifiedModel,
        labels: Sequence[str] = (),
        *,
        templates: Sequence[Template] | None = None,
        batch_size: int = 32,
    ) -> None:
        self._about, self._model, self._batch_size = about, about.model, _checked_size(batch_size)
        self._features = about.aspects.features if about.aspects is not None else _content_of(about.model)
        wanted = labels_by_aspect(labels, about.aspects, about.name)
        self._scale, self._bias = _logit_parameters(about.model)
        self.independent = self._bias is not None

        def encoded(aspect: str, names: list[str]) -> Tensor:
            prompts = _LABEL_ALONE if aspect != CONTENT else DEFAULT_TEMPLATES if templates is None else templates
            return build_zero_shot_classifier(about.model, about.tokenizer, names, prompts).float()

        with self._computing():
            self._heads = {aspect: _Head(names, encoded(aspect, names)) for aspect, names in wanted.items()}

    @property
    def labels(self) -> dict[str, list[str]]:
        """Aspect -> its labels."""
        return {aspect: list(head.labels) for aspect, head in self._heads.items()}

    def __call__(self, images: Iterable[ImageSource] | ImageSource, *, strict: bool = True) -> Iterator[Classified]:
        """Classify images batch by batch, in their order. The next batch is read while one is encoded.

        Args:
            images: Paths or PIL images, or a single one. At most two batches are held in memory.
            strict: Raise an error for an image that cannot be read. Otherwise its result carries the error, and the
                other images are classified.

        Raises:
            InputError: An image cannot be read.
            PluginError: The features from the plugin do not fit the images.
        """
        return self._classified(_each(images), strict=strict)

    def _classified(self, sources: Iterator[ImageSource], *, strict: bool) -> Iterator[Classified]:
        reading: Future[list[tuple[ImageSource, Tensor | str]]] | None = None
        with ThreadPoolExecutor(1) as reader:
            while batch := list(islice(sources, self._batch_size)):
                next_reading = reader.submit(self._read, batch)
                if reading is not None:
                    yield from self._results(reading.result(), strict=strict)
                reading = next_reading
            if reading is not None:
                yield from self._results(reading.result(), strict=strict)

    def _read(self, batch: list[ImageSource]) -> list[tuple[ImageSource, Tensor | str]]:
        """Return each image with the model's input [3, height, width], or with the reason why it could not be made."""
        read: list[tuple[ImageSource, Tensor | str]] = []
        for source in batch:
            try:
                image = read_image(source) if isinstance(source, (str, os.PathLike)) else source
                read.append((source, self._about.transform(image)))
            except InputError as error:
                read.append((source, str(error)))
        return read

    def _results(self, batch: list[tuple[ImageSource, Tensor | str]], *, strict: bool) -> Iterator[Classified]:
        tensors = [tensor for _, tensor in batch if not isinstance(tensor, str)]
        found = iter(self._probabilities(tensors) if tensors else ())
        for source, tensor in batch:
            result = Classified(source, error=tensor) if isinstance(tensor, str) else Classified.of(source, next(found))
            if strict and result.error:
                failure = InputError(
                    f"{_name(source)} cannot be classified: {result.error.rstrip('.')}. The images after it were not "
                    "classified either.",
                    name=_name(source),
                    found=result.error,
                    advice="With strict=False its result carries this error, and the other images are classified.",
                )
                if isinstance(source, (str, os.PathLike)):
                    failure.path = Path(source)
                raise failure
            yield result

    def _probabilities(self, tensors: list[Tensor]) -> list[dict[str, dict[str, float]]]:
        """Return aspect -> label -> probability, for each image."""
        import torch

        from registry_core.towers.precision import input_dtype

        images = torch.stack(tensors).to(device_of(self._model), input_dtype(self._about.precision))
        with self._computing():
            features = self._encoded(images)
            tables = {
                aspect: self._probable(self._checked(features, aspect, len(tensors)), head.weights).tolist()
                for aspect, head in self._heads.items()
            }
        return [
            {aspect: dict(zip(head.labels, tables[aspect][index], strict=True)) for aspect, head in self._heads.items()}
            for index in range(len(tensors))
        ]

    def _probable(self, features: Tensor, weights: Tensor) -> Tensor:
        """Features [N, E], weights [E, labels] -> probabilities [N, labels], float32."""
        import torch

        with torch.autocast(features.device.type, enabled=False):  # it would round the logits to half precision
            logits = self._scale * features.float() @ weights
            return logits.softmax(dim=-1) if self._bias is None else (logits + self._bias).sigmoid()

    def _encoded(self, images: Tensor) -> Mapping[str, Tensor]:
        try:
            return self._features(images)
        except (RegistryError, MemoryError, RuntimeError):  # torch's own messages explain these best
            raise
        except Exception as error:
            raise self._fault(f"failed with {type(error).__name__}: {error}") from error

    def _checked(self, features: object, aspect: str, count: int) -> Tensor:
        """Return the features [N, E] of an aspect."""
        from torch import Tensor

        if not isinstance(features, Mapping):
            raise self._fault(f"returned a {type(features).__name__}, expected a mapping from aspects to features")
        found = features.get(aspect)
        if found is None:
            raise self._fault(f"returned no features of the aspect {aspect!r}, but of {listing(map(repr, features))}")
        expected = (count, self._heads[aspect].weights.shape[0])
        if not isinstance(found, Tensor) or tuple(found.shape) != expected:
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise self._fault(f"returned features of {aspect!r} of shape {got}, expected {list(expected)}")
        return found

    def _fault(self, what: str) -> PluginError:
        return PluginError(
            f"The features of images from plugin {self._about.plugin} (its hook build_aspects, or its model's "
            f"encode_image) cannot be used: the function {what}. No image of this batch was classified; the fault is "
            f"in {self._about.location}.",
            plugin=self._about.plugin.partition(" (")[0],
            hook="build_aspects",
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Evaluation mode, no gradients, mixed precision. Never around a `yield`: the caller would run under it."""
        import torch

        from registry_core.towers.precision import autocast

        mixed = autocast(self._about.precision, device_of(self._model).type)
        with evaluating(self._model), torch.inference_mode(), mixed:
            yield


def _checked_size(given: object) -> int:
    size = whole_number(given)
    if size is None or size < 1:
        raise InputError(
            f"batch_size={given!r}: expected a positive whole number of images. Nothing was classified.",
            argument="batch_size",
            expected="a positive whole number",
            found=given,
        )
    return size


def _content_of(model: nn.Module) -> Callable[[Tensor], Mapping[str, Tensor]]:
    encoder = cast("TwoTowerModel", model)
    return lambda images: {CONTENT: encoder.encode_image(images, normalize=True)}


def _logit_parameters(model: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return the factor of the cosine similarities, and the bias that is added to them, or None."""
    if device_of(model).type == "meta":
        raise BuildError(
            f"This {type(model).__name__} is an empty shell, created with device='meta'. Nothing was classified.",
            advice="Create it on a real device.",
        )
    scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
    if scale is None:
        raise BuildError(
            f"This {type(model).__name__} has no `logit_scale`, the factor between similarities and logits, so its "
            "probabilities cannot be computed. Nothing was classified.",
            advice="Its plugin must keep it on the model.",
        )
    return scale.detach().float().exp(), None if bias is None else bias.detach().float()


def _each(images: Iterable[ImageSource] | ImageSource) -> Iterator[ImageSource]:
    """Yield each of several images, or the only one. A path of type str is iterable too."""
    if isinstance(images, Iterable) and not isinstance(images, (str, os.PathLike)):
        yield from images
    else:
        yield images


def _name(source: object) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"A {type(source).__name__}"
