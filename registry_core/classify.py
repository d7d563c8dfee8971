"""Pictures by what they show: the probability of each label, an aspect at a time.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1; models with a bias: Zhai et al. 2023,
https://arxiv.org/abs/2303.15343.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from registry_core.aspects import CONTENT, Classified, labels_by_aspect
from registry_core.errors import BuildError, InputError, PluginError, RegistryError, listing
from registry_core.evaluation import evaluating
from registry_core.picture_files import read_picture
from registry_core.zero_shot import Template, build_zero_shot_classifier, device_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.companions import Companions

    Picture = str | os.PathLike[str] | Image

DEFAULT_TEMPLATES = ("a photo of a {}.",)
_AS_IT_IS = ("{}",)


@dataclass(frozen=True, slots=True)
class _Aspect:
    """The labels of an aspect, and their weights [E, labels], float32."""

    labels: list[str]
    weights: Tensor


class Classifier:
    """Pictures -> probabilities. The labels are encoded once, with the model as it is now.

    It computes in evaluation mode, and leaves a model that is in training there.

    Args:
        registry: that created the model.
        model: a created model.
        labels: what the content may be, each text once; empty only where the model tells of another aspect.
        templates: prompts for the labels of the content, with `{}` in the place of the label, or functions from a
            label to a prompt; None means DEFAULT_TEMPLATES.
        batch_size: pictures that are encoded together.

    Attributes:
        independent: whether each probability stands on its own (sigmoid), as in a model with a logit bias; otherwise
            those of an aspect add up to 1 (softmax).

    Raises:
        InputError: labels, templates or a batch size that mean nothing.
        BuildError: a tower, the logit scale, a library or (device="meta") every value is not there.
        PluginError: the owner's hook gave something else than aspects.
    """

    def __init__(
        self,
        registry: Companions,
        model: nn.Module,
        labels: Sequence[str] = (),
        *,
        templates: Sequence[Template] | None = None,
        batch_size: int = 32,
    ) -> None:
        if not hasattr(batch_size, "__index__") or batch_size < 1:
            raise InputError(
                f"batch_size={batch_size!r}: expected a positive number of pictures. Nothing was classified."
            )
        report = registry.report(model)
        self._owner = registry.services.lookup.owner(report.config)
        own = registry.services.aspects(model)
        self._features = own.features if own is not None else _content_of(model)
        self._precision, self._model, self._batch_size = report.precision, model, batch_size
        wanted = labels_by_aspect(labels, own, report.name)
        self._scale, self._bias = _logit_parameters(model)
        self.independent = self._bias is not None
        self._transform = registry.preprocess(model)
        tokenizer = registry.tokenizer(model)

        def encoded(aspect: str, names: list[str]) -> Tensor:
            prompts = _AS_IT_IS if aspect != CONTENT else DEFAULT_TEMPLATES if templates is None else templates
            return build_zero_shot_classifier(model, tokenizer, names, prompts).float()

        with self._computing():
            self._aspects = {aspect: _Aspect(names, encoded(aspect, names)) for aspect, names in wanted.items()}

    @property
    def labels(self) -> dict[str, list[str]]:
        """Aspect -> its labels."""
        return {aspect: list(about.labels) for aspect, about in self._aspects.items()}

    def __call__(self, pictures: Iterable[Picture] | Picture, *, strict: bool = True) -> Iterator[Classified]:
        """Classify pictures one batch after the other, in their order; while one is encoded, the next is read.

        Args:
            pictures: paths or PIL images, or one of them; any number, since no more than two batches are held.
            strict: a picture that cannot be read is an error; otherwise its result says why, and the others go on.

        Raises:
            InputError: a picture cannot be read.
            PluginError: the owner's features are not those of the pictures.
        """
        return self._classified(_each(pictures), strict=strict)

    def _classified(self, source: Iterator[Picture], *, strict: bool) -> Iterator[Classified]:
        ahead: Future[list[tuple[Picture, Tensor | str]]] | None = None
        with ThreadPoolExecutor(1) as reader:
            while batch := list(islice(source, self._batch_size)):
                following = reader.submit(self._read, batch)
                if ahead is not None:
                    yield from self._results(ahead.result(), strict=strict)
                ahead = following
            if ahead is not None:
                yield from self._results(ahead.result(), strict=strict)

    def _read(self, batch: list[Picture]) -> list[tuple[Picture, Tensor | str]]:
        """Each picture with the model's input [3, height, width], or with the reason why there is none."""
        read: list[tuple[Picture, Tensor | str]] = []
        for picture in batch:
            try:
                image = read_picture(picture) if isinstance(picture, (str, os.PathLike)) else picture
                read.append((picture, self._transform(image)))
            except InputError as error:
                read.append((picture, str(error)))
        return read

    def _results(self, batch: list[tuple[Picture, Tensor | str]], *, strict: bool) -> Iterator[Classified]:
        tensors = [tensor for _, tensor in batch if not isinstance(tensor, str)]
        found = iter(self._probabilities(tensors) if tensors else ())
        for picture, tensor in batch:
            result = (
                Classified(picture, error=tensor) if isinstance(tensor, str) else Classified.of(picture, next(found))
            )
            if strict and result.error:
                raise InputError(
                    f"{_name(picture)} cannot be classified: {result.error}. Pictures after it were not classified "
                    "either. With strict=False its result says so in `error`, and the others go on."
                )
            yield result

    def _probabilities(self, tensors: list[Tensor]) -> list[dict[str, dict[str, float]]]:
        """Aspect -> label -> probability, for each picture."""
        import torch

        from registry_core.precision import input_dtype

        pictures = torch.stack(tensors).to(device_of(self._model), input_dtype(self._precision))
        with self._computing():
            features = self._asked(pictures)
            tables = {
                aspect: self._probable(self._checked(features, aspect, len(tensors)), about.weights).tolist()
                for aspect, about in self._aspects.items()
            }
        return [
            {
                aspect: dict(zip(about.labels, tables[aspect][index], strict=True))
                for aspect, about in self._aspects.items()
            }
            for index in range(len(tensors))
        ]

    def _probable(self, features: Tensor, weights: Tensor) -> Tensor:
        """Features [N, E], weights [E, labels] -> probabilities [N, labels], float32."""
        logits = self._scale * features.float() @ weights
        return logits.softmax(dim=-1) if self._bias is None else (logits + self._bias).sigmoid()

    def _asked(self, pictures: Tensor) -> Mapping[str, Tensor]:
        try:
            return self._features(pictures)
        except (RegistryError, MemoryError, RuntimeError):  # torch's own say best what they are
            raise
        except Exception as error:
            raise self._fault(f"failed with {type(error).__name__}: {error}") from error

    def _checked(self, features: object, aspect: str, count: int) -> Tensor:
        """The features [N, E] of an aspect."""
        from torch import Tensor

        if not isinstance(features, Mapping):
            raise self._fault(f"gave a {type(features).__name__}, expected a mapping from aspects to features")
        found = features.get(aspect)
        if found is None:
            raise self._fault(f"gave no features of the aspect {aspect!r}, but of {listing(map(repr, features))}")
        expected = (count, self._aspects[aspect].weights.shape[0])
        if not isinstance(found, Tensor) or tuple(found.shape) != expected:
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise self._fault(f"gave features of {aspect!r} of shape {got}, expected {list(expected)}")
        return found

    def _fault(self, what: str) -> PluginError:
        return PluginError(
            f"The features of pictures from plugin {self._owner} (its hook build_aspects, or its model's encode_image) "
            f"cannot be used: the function {what}. No picture of this batch was classified; the fault is in "
            f"{self._owner.location}."
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Evaluation, no gradients, the model's mixed precision. Never around a `yield`: the caller would see it."""
        import torch

        from registry_core.precision import autocast

        mixed = autocast(self._precision, device_of(self._model).type)
        with evaluating(self._model), torch.inference_mode(), mixed:
            yield


def _content_of(model: nn.Module) -> Callable[[Tensor], Mapping[str, Tensor]]:
    return lambda pictures: {CONTENT: model.encode_image(pictures, normalize=True)}  # type: ignore[operator]


def _logit_parameters(model: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The factor of the cosine similarities, and what is added to them, or None."""
    if device_of(model).type == "meta":
        raise BuildError(
            f"This {type(model).__name__} is an empty shell, created with device='meta'. Nothing was classified. "
            "Create it on a real device."
        )
    scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
    if scale is None:
        raise BuildError(
            f"This {type(model).__name__} has no `logit_scale`, the factor between similarities and logits, so its "
            "probabilities are not known. Nothing was classified. Its plugin must keep it on the model."
        )
    return scale.detach().float().exp(), None if bias is None else bias.detach().float()


def _each(pictures: Iterable[Picture] | Picture) -> Iterator[Picture]:
    """Each of several pictures, or the only one; a path of type str is iterable too."""
    if isinstance(pictures, Iterable) and not isinstance(pictures, (str, os.PathLike)):
        yield from pictures
    else:
        yield pictures


def _name(picture: object) -> str:
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else f"A {type(picture).__name__}"
