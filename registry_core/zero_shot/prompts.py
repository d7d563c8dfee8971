"""The weights of a zero-shot classifier: for each class, the mean feature of the prompts that contain its name.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1.4. The ImageNet class names and templates are
OpenAI's. data/LICENSE.clip states their source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from registry_core.arguments import whole_number
from registry_core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from registry_core.towers.protocols import TwoTowerModel

Template = str | Callable[[str], str]


def _data(name: str) -> Any:
    return json.loads(files("registry_core").joinpath("data", name).read_text(encoding="utf-8"))


_TEMPLATES = _data("imagenet_templates.json")
IMAGENET_CLASSNAMES: tuple[str, ...] = tuple(_data("imagenet_classnames.json"))
OPENAI_IMAGENET_TEMPLATES: tuple[str, ...] = tuple(_TEMPLATES["openai"])
SIMPLE_IMAGENET_TEMPLATES: tuple[str, ...] = tuple(_TEMPLATES["simple"])


def build_zero_shot_classifier(  # noqa: PLR0917 - open_clip's signature, so that its callers only change an import
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    classnames: Sequence[str],
    templates: Sequence[Template],
    num_classes_per_batch: int | None = 10,
    device: str | torch.device | None = None,
    use_tqdm: bool = False,
) -> Tensor:
    """Return the weights [E, classes] of a linear classifier for normalised image features.

        weights = build_zero_shot_classifier(model, registry.tokenizer(model), ["cat", "dog"], ["a photo of a {}."])
        scores = model.encode_image(images, normalize=True) @ weights

    Args:
        model: A module with `encode_text(ids, normalize=True)`.
        tokenizer: Texts -> token ids, such as `registry.tokenizer(model)`.
        classnames: Names of the classes.
        templates: Prompts with `{}` in place of the class name, or functions from a class name to a prompt.
        num_classes_per_batch: Classes whose prompts are encoded together. None encodes all at once.
        device: Device of the token ids; None means the device of the model.
        use_tqdm: Show a progress bar.

    Raises:
        InputError: There are no classes or no templates, a template does not use the class name, or
            `num_classes_per_batch` is not a positive whole number.
    """
    import torch
    from tqdm import tqdm

    names = _checked("classnames", classnames)
    prompts = [_prompt(template) for template in _checked("templates", templates)]
    size = len(names) if num_classes_per_batch is None else _checked_size(num_classes_per_batch)
    ids_device = device_of(model) if device is None else device
    encoder = cast("TwoTowerModel", model)  # only its `encode_text` is called

    def weights_of(batch: Sequence[str]) -> Tensor:
        ids = tokenizer([prompt(name) for name in batch for prompt in prompts]).to(ids_device)
        features = encoder.encode_text(ids, normalize=True)
        mean = features.reshape(len(batch), len(prompts), -1).mean(dim=1)
        weights: Tensor = (mean / mean.norm(dim=1, keepdim=True)).T
        return weights

    with torch.no_grad(), tqdm(total=len(names), unit="class", disable=not use_tqdm) as bar:
        parts = []
        for start in range(0, len(names), size):
            batch = names[start : start + size]
            parts.append(weights_of(batch))
            bar.update(len(batch))
    return torch.cat(parts, dim=1)


def _checked(argument: str, items: object) -> Sequence[Any]:
    if isinstance(items, str) or not isinstance(items, Sequence) or not items:
        raise InputError(
            f"{argument} must be a list with at least one item, got {type(items).__name__} {items!r:.60}. No "
            "classifier was made.",
            argument=argument,
            expected="a list with at least one item",
            found=items,
        )
    return items


def _checked_size(given: object) -> int:
    size = whole_number(given)
    if size is None or size < 1:
        raise InputError(
            f"num_classes_per_batch={given!r}: expected a positive whole number, or None for all classes. No "
            "classifier was made.",
            argument="num_classes_per_batch",
            expected="a positive whole number, or None",
            found=given,
        )
    return size


def _prompt(template: Template) -> Callable[[str], str]:
    """Return the function from a class name to a prompt. A template string is tried with a test name."""
    if not isinstance(template, str):
        if not callable(template):
            raise InputError(
                f"The template {template!r} is neither a string with {{}} in place of the class name nor a function "
                "from a class name to a prompt. No classifier was made.",
                argument="templates",
                found=template,
            )
        return template
    try:
        fault = None if "\0" in template.format("\0") else "it does not contain the class name"
    except (KeyError, IndexError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        raise InputError(
            f"The template {template!r} cannot be filled with a class name: {fault}. No classifier was made.",
            argument="templates",
            found=template,
            advice="Write {} in place of the class name, as in 'a photo of a {}.'.",
        )
    return template.format


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's parameters."""
    import torch

    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
