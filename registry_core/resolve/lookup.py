"""Which plugin answers a model name, a raw config or a tag. Every plugin is asked; two answers are a conflict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry_core.config.model import ModelConfig, RawConfig
from registry_core.config.names import ModelName
from registry_core.errors import (
    ConfigError,
    ConflictError,
    PluginError,
    UnknownModelError,
    close_names,
    did_you_mean,
    listing,
)
from registry_core.fetch.contract import Fetcher
from registry_core.fetch.sources import without_secrets
from registry_core.hooks.calls import HookCalls
from registry_core.hooks.plugin import Plugin
from registry_core.resolve.catalog import Catalog
from registry_core.resolve.results import FoundWeights, Resolved

logger = logging.getLogger(__name__)


class Lookup:
    """Asks the plugins of one registry.

    Args:
        calls: Calls the plugins.
        catalog: Lists what exists, for the user's configs and for suggestions.
    """

    def __init__(self, calls: HookCalls, catalog: Catalog) -> None:
        self._calls = calls
        self._host = calls.host
        self._catalog = catalog

    def resolve(self, given: str, cache_dir: Path | None = None) -> Resolved:
        """Resolve a model name.

        Args:
            given: The name.
            cache_dir: Where a plugin keeps a config that it must fetch; None means the usual folder.

        Raises:
            UnknownModelError: No plugin knows the name. The error of a broken plugin is its cause.
            ConflictError: More than one plugin knows the name, and it is not qualified.
            ConfigError: The config is known and does not validate.
        """
        wanted = ModelName.parse(given)
        found = self._calls.resolve_config(wanted.name, None, to=wanted.plugin, cache_dir=cache_dir)
        answers = [(plugin, config, plugin.location) for plugin, config in found]
        user = self._catalog.user_configs().get(wanted.name)
        if user is not None:
            claimed = self.claim(user.raw, user.origin)
            if wanted.plugin in {None, claimed.plugin.name}:
                answers.append((claimed.plugin, claimed.config, user.origin))
        if not answers:
            raise self._unknown(wanted) from self.broken()
        if len(answers) > 1:
            raise _conflict(f"The model name {wanted.name!r}", [(p, where) for p, _, where in answers], wanted.name)
        plugin, config, origin = answers[0]
        repository = self._calls.resolve_repository(plugin, wanted.name)
        origin = str(repository.config) if repository else origin
        owner = self.owner(config)
        shown = without_secrets(origin)
        logger.info("model %r: answered by %s, config from %s, built by %s", wanted.name, plugin, shown, owner)
        return Resolved(wanted.name, config, plugin, owner, origin, wanted.plugin, repository)

    def claim(self, raw: RawConfig, origin: str) -> Resolved:
        """Resolve a raw config.

        Args:
            raw: The config.
            origin: Where the config is from, for messages.

        Raises:
            ConfigError: No plugin claims the config, or the plugin that claims it finds it invalid.
            ConflictError: More than one plugin claims the config.
        """
        answers = self._calls.resolve_config(origin, raw)
        if not answers:
            raise self._unclaimed(raw, origin) from self.broken()
        if len(answers) > 1:
            raise _conflict(f"The config of {origin}", [(p, p.location) for p, _ in answers], None)
        plugin, config = answers[0]
        logger.debug("config of %s: claimed by %s", without_secrets(origin), plugin)
        return Resolved(origin, config, plugin, self.owner(config), origin)

    def tag(self, resolved: Resolved, tag: str) -> list[FoundWeights]:
        """Return the weights that plugins give for a tag. Weights at a path are left out if a plugin has the tag.

        `plugin::tag` selects that plugin's tag. The other plugins are asked for the qualified tag, since a wrapper may
        pass it on to its base model.

        Raises:
            ConflictError: Two plugins provide the tag.
        """
        given = self._calls.resolve_pretrained(resolved.name, resolved.config, tag)
        qualifier, _, bare = tag.rpartition("::")
        if qualifier:
            given += self._calls.resolve_pretrained(resolved.name, resolved.config, bare, to=qualifier)
        answers = [FoundWeights(weights, plugin) for plugin, weights in given]
        tagged = [found for found in answers if found.weights.tag is not None]
        if resolved.qualifier is not None and len(tagged) > 1:
            named = [found for found in tagged if found.plugin and found.plugin.name == resolved.qualifier]
            tagged = named or tagged
        if len(tagged) > 1:
            providers = [(found.plugin, found.plugin.location) for found in tagged if found.plugin]
            raise _conflict(f"The tag {tag!r} of {resolved.name!r}", providers, tag)
        for found in tagged or answers:
            weights = without_secrets(str(found.weights))
            logger.debug("weights %r of %r: %s from %s", without_secrets(tag), resolved.name, weights, found.plugin)
        return tagged or answers

    def owner(self, config: ModelConfig) -> Plugin:
        """Return the plugin that owns the architecture of a config.

        Raises:
            PluginError: There is no such plugin.
        """
        found = next((p for p in self._host if p.active and p.name == config.architecture), None)
        if found is None:
            raise PluginError(
                f"A {type(config).__name__} has the architecture {config.architecture!r}, and no working plugin has "
                "that name. A config class names the plugin that builds it in its `architecture`.",
                plugin=config.architecture,
                name=config.architecture,
            ) from self.broken()
        return found

    def fetchers(self) -> dict[str, Fetcher]:
        """Return scheme -> fetcher, from all plugins.

        Raises:
            ConflictError: Two plugins provide a fetcher for one scheme.
        """
        return self._merged_tables("fetchers", "The scheme")

    def public_classes(self) -> dict[str, str]:
        """Return name -> "module:class", from all plugins.

        Raises:
            ConflictError: Two plugins provide a class of one name.
        """
        return self._merged_tables("public_classes", "The public class")

    def broken(self) -> Exception | None:
        """Return the errors of broken plugins as one exception to raise from, or None."""
        errors = [plugin.error for plugin in self._host if plugin.error is not None]
        return errors[0] if len(errors) == 1 else ExceptionGroup("broken plugins", errors) if errors else None

    def _merged_tables(self, hook: str, what: str) -> dict[str, Any]:
        """Merge the tables that plugins answer a hook with."""
        table: dict[str, tuple[Plugin, Any]] = {}
        for plugin, offered in self._calls.tables(hook):
            for key, value in offered.items():
                if key in table:
                    other = table[key][0]
                    raise _conflict(f"{what} {key!r}", [(p, p.location) for p in (other, plugin)], None)
                table[key] = plugin, value
        return {key: value for key, (_, value) in table.items()}

    def _unclaimed(self, raw: RawConfig, origin: str) -> ConfigError:
        architecture = raw.get("architecture")
        about = f"its architecture is {architecture!r}" if architecture else f"its keys are {listing(raw)}"
        known = [plugin.name for plugin in self._host if plugin.active]
        hint = did_you_mean(str(architecture), known) if architecture else ""
        return ConfigError(
            f"No plugin claims the config of {origin}: {about}.{hint} The plugins are: {listing(known) or 'none'}. No "
            "model was made from it.",
            name=origin,
            found=architecture or sorted(raw),
            expected=known,
            suggestions=close_names(str(architecture), known) if architecture else (),
            advice="Install the plugin that provides this architecture, or correct the `architecture` key.",
        )

    def _unknown(self, wanted: ModelName) -> UnknownModelError:
        names = self._catalog.names()  # first: a plugin may fail when it is asked for its names
        asked = [plugin for plugin in self._host if plugin.active]
        broken = [plugin for plugin in self._host if plugin.error is not None]
        lines = [f"There is no model {wanted.given!r}.{did_you_mean(wanted.name, names)}"]
        if wanted.plugin is not None and wanted.plugin not in {plugin.name for plugin in asked}:
            lines.append(f"There is no working plugin {wanted.plugin!r}.")
        lines.append(f"Asked: {listing(map(str, asked)) or 'no plugin'}.")
        switched_off = [f"{plugin} (by {plugin.disabled})" for plugin in self._host if plugin.disabled]
        if switched_off:
            lines.append(f"Switched off: {listing(switched_off)}.")
        if broken:
            lines.append(f"Not asked or failing: {listing(map(str, broken))}; the cause is below.")
        return UnknownModelError(
            " ".join(lines),
            name=wanted.given,
            suggestions=close_names(wanted.name, names),
            advice="`registry.list_models()` returns all names; registry.add_config adds a model of your own.",
        )


def _conflict(what: str, providers: Sequence[tuple[Plugin, str]], name: str | None) -> ConflictError:
    who = " and ".join(f"{plugin} in {where}" for plugin, where in providers)
    qualified = " or ".join(f"'{plugin.name}::{name}'" for plugin, _ in providers)
    several = name and len({plugin.name for plugin, _ in providers}) > 1
    return ConflictError(
        f"{what} is answered more than once: by {who}. None was chosen.",
        name=name,
        plugins=[str(plugin) for plugin, _ in providers],
        advice=(f"Choose one with {qualified}, or" if several else "Rename or") + " uninstall one.",
    )
