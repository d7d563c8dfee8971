"""The classifier of a created model, with its transform, tokenizer and aspects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from registry_core.report import report_of
from registry_core.resolve.services import Services
from registry_core.resolve.tokenizer import resolve_tokenizer
from registry_core.resolve.transform import resolve_transform

if TYPE_CHECKING:
    from torch import nn

    from registry_core.zero_shot import Classifier


def resolve_classifier(services: Services, model: nn.Module, labels: Sequence[str], **options: Any) -> Classifier:
    """Return the classifier of a created model.

    Args:
        services: Their plugins provide tokenizer, transform and aspects.
        model: A created model.
        labels: What the images may show.
        **options: `templates` and `batch_size` of Classifier.

    Raises:
        RegistryError: As for `Registry.classifier`.
    """
    from registry_core.zero_shot.classifier import ClassifiedModel, Classifier

    report = report_of(model)
    owner = services.owner(report.config)
    about = ClassifiedModel(
        model,
        report.name,
        report.precision,
        transform=resolve_transform(services, model, None, {}),
        tokenizer=resolve_tokenizer(services, model, None, {}),
        aspects=services.aspects(report.config, model),
        plugin=str(owner),
        location=owner.location,
    )
    return Classifier(about, labels, **options)
