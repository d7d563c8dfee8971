"""The models, tags and descriptions that exist, as every plugin and the user list them: raw, and without torch."""

from __future__ import annotations

from fnmatch import fnmatchcase

from registry_core.config.model import RawConfig
from registry_core.config.user import ENVIRONMENT, UserConfig, configs_on_path
from registry_core.errors import ConfigError
from registry_core.hooks.calls import HookCalls


class Catalog:
    """The lists of one registry.

    Args:
        calls: Calls the plugins.

    Attributes:
        added: Configs that were added in this process, by name.
    """

    def __init__(self, calls: HookCalls) -> None:
        self._calls = calls
        self.added: dict[str, UserConfig] = {}

    def user_configs(self) -> dict[str, UserConfig]:
        """Return the user's configs, from this process and from the environment.

        Raises:
            ConfigError: A config of the environment cannot be read, or differs from one that was added under its name.
        """
        found = configs_on_path()
        for name, config in self.added.items():
            other = found.setdefault(name, config)
            if other.raw != config.raw:
                raise ConfigError(
                    f"There are two configs named {name!r}: {config.origin}, added in this process, and "
                    f"{other.origin}, which {ENVIRONMENT} names. None was chosen.",
                    name=name,
                    found=(config.origin, other.origin),
                    advice="Rename one.",
                )
        return found

    def base_models(self) -> dict[str, RawConfig]:
        """Return the raw configs of plugins and of the user, by name. Derived models are not included."""
        models: dict[str, RawConfig] = {}
        for _, table in self._calls.list_models():
            models.update(table)
        models.update({name: config.raw for name, config in self.user_configs().items()})
        return models

    def derived_models(self) -> dict[str, str]:
        """Return derived name -> base name."""
        derived: dict[str, str] = {}
        for _, table in self._calls.derive_models(self.base_models()):
            derived.update(table)
        return derived

    def names(self, pattern: str = "*") -> list[str]:
        """Return the model names that match a shell pattern, sorted. Case is ignored."""
        folded = pattern.casefold()
        found = {*self.base_models(), *self.derived_models()}
        return sorted((name for name in found if fnmatchcase(name.casefold(), folded)), key=str.casefold)

    def tags(self) -> list[tuple[str, str]]:
        """Return every (model, tag). A derived model has the tags of its base."""
        own: dict[tuple[str, str], None] = {}
        for _, pairs in self._calls.list_pretrained():
            own.update(dict.fromkeys(pairs))
        by_base: dict[str, list[str]] = {}
        for model, tag in own:
            by_base.setdefault(model, []).append(tag)
        for name, base in self.derived_models().items():
            own.update(dict.fromkeys((name, tag) for tag in by_base.get(base, ())))
        return sorted(own, key=lambda pair: (pair[0].casefold(), pair[1]))

    def descriptions(self) -> dict[str, dict[str, str]]:
        """Return the further table columns: column -> model -> text. Texts of several plugins are joined."""
        table: dict[str, dict[str, str]] = {}
        for _, columns in self._calls.describe_models():
            for column, texts in columns.items():
                known = table.setdefault(column, {})
                known.update({name: "; ".join(filter(None, (known.get(name), text))) for name, text in texts.items()})
        return table
