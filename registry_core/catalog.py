"""What there is: models, tags and descriptions, as every plugin and the user list them; raw, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from registry_core.config import RawConfig
from registry_core.errors import ConfigError, PluginError
from registry_core.plugins import Plugin, PluginHost
from registry_core.user_configs import ENVIRONMENT, UserConfig, configs_on_path

if TYPE_CHECKING:
    from registry_core.factory import Registry


class Catalog:
    """The listings of one registry.

    Args:
        host: the plugins.
        registry: handed to hooks that ask for it.
    """

    def __init__(self, host: PluginHost, registry: Registry) -> None:
        self._host = host
        self._registry = registry
        self.added: dict[str, UserConfig] = {}

    def user_configs(self) -> dict[str, UserConfig]:
        """The user's configs, of this process and of the environment.

        Raises:
            ConfigError: the environment's cannot be read, or one of them is another config of a name added here.
        """
        found = configs_on_path()
        for name, config in self.added.items():
            other = found.setdefault(name, config)
            if other.raw != config.raw:
                raise ConfigError(
                    f"There are two configs named {name!r}: {config.origin}, added in this process, and "
                    f"{other.origin}, which {ENVIRONMENT} names. None was chosen. Rename one."
                )
        return found

    def base_models(self) -> dict[str, RawConfig]:
        """Raw configs by name, of plugins and of the user; derived models are not among them."""
        models: dict[str, RawConfig] = {}
        for plugin, table in self._ask_typed("list_models", Mapping):
            if self._sound(plugin, "list_models", table.values(), Mapping, "a config that is no mapping"):
                models.update(table)
        models.update({name: config.raw for name, config in self.user_configs().items()})
        return models

    def derived_models(self) -> dict[str, str]:
        """Derived name -> base name."""
        derived: dict[str, str] = {}
        for _, table in self._ask_typed("derive_models", Mapping, base=self.base_models()):
            derived.update(table)
        return derived

    def names(self) -> list[str]:
        """Every model name, sorted without regard to case."""
        return sorted({*self.base_models(), *self.derived_models()}, key=str.casefold)

    def tags(self) -> list[tuple[str, str]]:
        """Every (model, tag); a derived model has its base's."""
        own: dict[tuple[str, str], None] = {}
        for plugin, pairs in self._ask_typed("list_pretrained", (list, tuple)):
            if self._sound(plugin, "list_pretrained", pairs, tuple, "an item that is no (model, tag) tuple"):
                own.update(dict.fromkeys(pairs))
        by_base: dict[str, list[str]] = {}
        for model, tag in own:
            by_base.setdefault(model, []).append(tag)
        for name, base in self.derived_models().items():
            own.update(dict.fromkeys((name, tag) for tag in by_base.get(base, ())))
        return sorted(own, key=lambda pair: (pair[0].casefold(), pair[1]))

    def descriptions(self) -> dict[str, dict[str, str]]:
        """What plugins say of models for tables: column -> model -> text; the texts of several are joined."""
        table: dict[str, dict[str, str]] = {}
        for plugin, columns in self._ask_typed("describe_models", Mapping):
            if self._sound(plugin, "describe_models", columns.values(), Mapping, "a column that is no mapping"):
                for column, texts in columns.items():
                    known = table.setdefault(column, {})
                    known.update({name: "; ".join(filter(None, (known.get(name), t))) for name, t in texts.items()})
        return table

    def _ask_typed(
        self, hook: str, kind: type | tuple[type, ...], *, to: str | None = None, **arguments: Any
    ) -> list[tuple[Plugin, Any]]:
        """Answers of the right type, of all or of one plugin; one that gives another is marked as broken."""
        right = []
        for plugin, answer in self._host.ask(hook, to=to, registry=self._registry, **arguments):
            if isinstance(answer, kind):
                right.append((plugin, answer))
            else:
                expected = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
                plugin.error = PluginError(
                    f"Plugin {plugin} answered its hook {hook} with a {type(answer).__name__}, expected {expected}. "
                    "The answer was not used; the fault is in " + plugin.location + "."
                )
        return right

    def _sound(self, plugin: Plugin, hook: str, items: Iterable[object], kind: type, what: str) -> bool:
        """Whether all items of an answer are of a type; else the plugin is marked as broken."""
        sound = all(isinstance(item, kind) for item in items)
        if not sound:
            plugin.error = PluginError(
                f"Plugin {plugin} answered its hook {hook} with {what}. The answer was not used; the fault is in "
                f"{plugin.location}."
            )
        return sound
