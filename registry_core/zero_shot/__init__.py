"""Zero-shot classification: probabilities of labels for images, from the features of a created model.

prompts.py      the weights of a classifier, computed from prompts; ImageNet's class names and templates
aspects.py      what a model predicts for an image: its content, and other properties
image_files.py  finds and reads image files
classifier.py   images -> probabilities
"""

from typing import TYPE_CHECKING

from registry_core._lazy import lazy_exports
from registry_core.zero_shot.aspects import Classified, ImageAspects

if TYPE_CHECKING:
    from registry_core.zero_shot.classifier import Classifier
    from registry_core.zero_shot.prompts import (
        IMAGENET_CLASSNAMES,
        OPENAI_IMAGENET_TEMPLATES,
        SIMPLE_IMAGENET_TEMPLATES,
        Template,
        build_zero_shot_classifier,
    )

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Classifier": "classifier",
        "IMAGENET_CLASSNAMES": "prompts",
        "OPENAI_IMAGENET_TEMPLATES": "prompts",
        "SIMPLE_IMAGENET_TEMPLATES": "prompts",
        "Template": "prompts",
        "build_zero_shot_classifier": "prompts",
    },
)

__all__ = [
    "IMAGENET_CLASSNAMES",
    "OPENAI_IMAGENET_TEMPLATES",
    "SIMPLE_IMAGENET_TEMPLATES",
    "Classified",
    "Classifier",
    "ImageAspects",
    "Template",
    "build_zero_shot_classifier",
]
