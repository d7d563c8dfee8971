"""A model name and its parts.

ViT-B-32                   a plain name
ViT-B/32                   the old spelling of that name
openai_clip::ViT-B-32      a qualified name: only the plugin openai_clip is asked
hf-hub:org/repo@main       a scheme and an address: the plugin that knows the scheme interprets the address
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_core.errors import UnknownModelError


@dataclass(frozen=True, slots=True)
class ModelName:
    """The parts of a model name.

    Attributes:
        given: The name as the caller wrote it.
        name: The name that plugins are asked for: without the qualifier, and with old spellings normalised.
        plugin: The qualifier, or None.
    """

    given: str
    name: str
    plugin: str | None

    @classmethod
    def parse(cls, given: str) -> ModelName:
        """Split a model name into its parts.

        Raises:
            UnknownModelError: The name is empty.
        """
        if not str(given).strip():
            raise UnknownModelError(
                f"A model name must be a non-empty string such as 'ViT-B-32', got {given!r}.",
                name=given,
                expected="a non-empty string",
                found=given,
                advice="`registry.list_models()` returns the known names.",
            )
        plugin, separator, rest = str(given).partition("::")
        if not separator or ":" in plugin or "/" in plugin:  # `::` inside an address is not a qualifier
            plugin, rest = "", str(given)
        # Papers write ViT-B/32, configs write ViT-B-32. After a scheme, a slash is part of the address.
        name = rest if ":" in rest else rest.replace("/", "-")
        return cls(given, name, plugin or None)
