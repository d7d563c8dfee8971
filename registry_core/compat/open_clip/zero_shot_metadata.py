"""ImageNet's class names, and CLIP's templates as functions from a class name to a prompt."""

from __future__ import annotations

from collections.abc import Callable

from registry_core.zero_shot import prompts as zero_shot
from registry_core.zero_shot.prompts import IMAGENET_CLASSNAMES

Templates = tuple[Callable[[str], str], ...]

OPENAI_IMAGENET_TEMPLATES: Templates = tuple(text.format for text in zero_shot.OPENAI_IMAGENET_TEMPLATES)
SIMPLE_IMAGENET_TEMPLATES: Templates = tuple(text.format for text in zero_shot.SIMPLE_IMAGENET_TEMPLATES)

__all__ = ["IMAGENET_CLASSNAMES", "OPENAI_IMAGENET_TEMPLATES", "SIMPLE_IMAGENET_TEMPLATES"]
