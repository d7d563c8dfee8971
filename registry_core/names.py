"""A model name, taken apart once.

ViT-B-32                   a plain name
ViT-B/32                   the old spelling of it
openai_clip::ViT-B-32      qualified: only that plugin is asked
hf-hub:org/repo@main       a scheme: what follows the colon belongs to the plugin that knows the scheme
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_core.errors import UnknownModelError


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model name in its parts.

    Attributes:
        given: what the caller wrote.
        name: what plugins are asked for; old spellings normalised, the qualifier removed.
        plugin: the qualifier, or None.
    """

    given: str
    name: str
    plugin: str | None

    @classmethod
    def parse(cls, given: str) -> ModelName:
        """Take a name apart.

        Raises:
            UnknownModelError: the name is empty.
        """
        if not str(given).strip():
            raise UnknownModelError(
                f"A model name must be a non-empty string such as 'ViT-B-32', got {given!r}. "
                "`registry.list_models()` returns the names there are."
            )
        plugin, separator, rest = str(given).partition("::")
        if not separator or ":" in plugin or "/" in plugin:  # `::` inside an address qualifies nothing
            plugin, rest = "", str(given)
        # Published papers write ViT-B/32, the configs ViT-B-32. After a scheme a slash is part of an address.
        name = rest if ":" in rest else rest.replace("/", "-")
        return cls(given, name, plugin or None)
