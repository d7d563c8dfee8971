"""Zero-shot classification: a class's weights are the mean feature of prompts that name it.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1.4. The class names and templates of ImageNet are
OpenAI's; data/LICENSE.clip has the source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from registry_core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Template = str | Callable[[str], str]


def _data(name: str) -> Any:
    return json.loads(files("registry_core").joinpath("data", name).read_text(encoding="utf-8"))


_TEMPLATES = _data("imagenet_templates.json")
IMAGENET_CLASSNAMES: tuple[str, ...] = tuple(_data("imagenet_classnames.json"))
OPENAI_IMAGENET_TEMPLATES: tuple[str, ...] = tuple(_TEMPLATES["openai"])
SIMPLE_IMAGENET_TEMPLATES: tuple[str, ...] = tuple(_TEMPLATES["simple"])


def build_zero_shot_classifier(  # noqa: PLR0917 - open_clip's order, so that its callers need change an import only
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    classnames: Sequence[str],
    templates: Sequence[Template],
    num_classes_per_batch: int | None = 10,
    device: str | torch.device | None = None,
    use_tqdm: bool = False,
) -> Tensor:
    """The weights [E, classes] of a linear classifier over normalised image features.

        weights = build_zero_shot_classifier(model, registry.tokenizer(model), ["cat", "dog"], ["a photo of a {}."])
        scores = model.encode_image(pictures, normalize=True) @ weights

    Args:
        model: anything with `encode_text(ids, normalize=True)`.
        tokenizer: from texts to ids, such as `registry.tokenizer(model)`.
        classnames: what the classes are called.
        templates: prompts with `{}` in the place of the name, or functions from a name to a prompt.
        num_classes_per_batch: classes whose prompts are encoded together; None encodes all at once.
        device: where the ids go; None means where the model is.
        use_tqdm: show a progress bar.

    Raises:
        InputError: no classes, no templates, or a template that names no class.
    """
    import torch
    from tqdm import tqdm

    names = _checked("classnames", classnames)
    prompts = [_prompt(template) for template in _checked("templates", templates)]
    size = len(names) if num_classes_per_batch is None else num_classes_per_batch
    if not hasattr(size, "__index__") or size < 1:
        raise InputError(f"num_classes_per_batch={num_classes_per_batch}: expected a positive number, or None for all.")
    where = device_of(model) if device is None else device

    def weights_of(batch: Sequence[str]) -> Tensor:
        ids = tokenizer([prompt(name) for name in batch for prompt in prompts]).to(where)
        features: Tensor = model.encode_text(ids, normalize=True)  # type: ignore[operator]
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


def _checked(what: str, items: object) -> Sequence[Any]:
    if isinstance(items, str) or not isinstance(items, Sequence) or not items:
        raise InputError(
            f"{what} must be a list with at least one item, got {type(items).__name__} {items!r:.60}. No classifier "
            "was made."
        )
    return items


def _prompt(template: Template) -> Callable[[str], str]:
    """The function from a name to a prompt; of a string, a probe shows that the name gets into it."""
    if not isinstance(template, str):
        if not callable(template):
            raise InputError(
                f"The template {template!r} is neither a text with {{}} in the place of the class name nor a function "
                "from a name to a prompt. No classifier was made."
            )
        return template
    try:
        fault = None if "\0" in template.format("\0") else "the class name is not in it"
    except (KeyError, IndexError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        raise InputError(
            f"The template {template!r} makes no prompt of a class name: {fault}. Put {{}} in the place of the name, "
            "as in 'a photo of a {}.'. No classifier was made."
        )
    return template.format


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are."""
    import torch

    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
