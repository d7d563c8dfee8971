"""Whose is this name, this config, this tag? Every plugin is asked; two answers are a conflict, never a race."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_core.catalog import Catalog
from registry_core.config import ModelConfig, RawConfig
from registry_core.errors import (
    ConfigError,
    ConflictError,
    PluginError,
    UnknownModelError,
    did_you_mean,
    listing,
)
from registry_core.fetch import Fetcher
from registry_core.home import Home
from registry_core.names import ModelName
from registry_core.plugins import Plugin
from registry_core.weights import Weights


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model name, answered.

    Attributes:
        name: as plugins know it.
        config: validated.
        plugin: who brought the name; for a user's config, who claimed it.
        owner: whose architecture it is: builds, converts, finishes.
        origin: the user's config file, or where the plugin lives.
        qualifier: the plugin that the caller named, if any.
        home: the folder or repository that the name stands for, if it is one.
    """

    name: str
    config: ModelConfig
    plugin: Plugin
    owner: Plugin
    origin: str
    qualifier: str | None = None
    home: Home | None = None


@dataclass(frozen=True, slots=True)
class FoundWeights:
    """Weights, and who said so: a plugin, or None for a path that the core found."""

    weights: Weights
    plugin: Plugin | None


class Lookup(Catalog):
    """Asks the plugins of one registry."""

    def resolve(self, given: str, cache_dir: Path | None = None) -> Resolved:
        """Answer a model name.

        Args:
            given: the name.
            cache_dir: where a plugin that fetches configs keeps them; None means the usual folder.

        Raises:
            UnknownModelError: no plugin knows it; a broken plugin's error is its cause.
            ConflictError: more than one does, and the name is not qualified.
            ConfigError: the config is known and does not validate.
        """
        wanted = ModelName.parse(given)
        answers = [
            (plugin, config, plugin.location)
            for plugin, config in self._ask_typed(
                "resolve_config", ModelConfig, to=wanted.plugin, name=wanted.name, raw=None, cache_dir=cache_dir
            )
        ]
        user = self.user_configs().get(wanted.name)
        if user is not None:
            claimed = self.claim(user.raw, user.origin)
            answers.append((claimed.plugin, claimed.config, user.origin))
        if wanted.plugin is not None:
            answers = [answer for answer in answers if answer[0].name == wanted.plugin]
        if not answers:
            raise self._unknown(wanted)
        if len(answers) > 1:
            raise _conflict(f"The model name {wanted.name!r}", [(p, where) for p, _, where in answers], wanted.name)
        plugin, config, origin = answers[0]
        owner = self.owner(config)
        home = self._home(plugin, wanted.name)
        origin = str(home.config) if home else origin
        return Resolved(wanted.name, config, plugin, owner, origin, wanted.plugin, home)

    def claim(self, raw: RawConfig, origin: str) -> Resolved:
        """Answer a raw config.

        Raises:
            ConfigError: no plugin claims it, or the one that does finds it invalid.
            ConflictError: more than one plugin claims it.
        """
        answers = self._ask_typed("resolve_config", ModelConfig, name=origin, raw=raw, cache_dir=None)
        if not answers:
            said = raw.get("architecture")
            about = f"its architecture is {said!r}" if said else f"its keys are {listing(raw)}"
            known = [plugin.name for plugin in self._host if plugin.active]
            raise ConfigError(
                f"No plugin claims the config of {origin}: {about}.{did_you_mean(str(said), known) if said else ''} "
                f"The plugins are {listing(known)}. No model was made of it; install the plugin that brings this "
                "architecture, or correct the `architecture` key."
            ) from self.broken()
        if len(answers) > 1:
            raise _conflict(f"The config of {origin}", [(p, p.location) for p, _ in answers], None)
        plugin, config = answers[0]
        return Resolved(origin, config, plugin, self.owner(config), origin)

    def tag(self, resolved: Resolved, tag: str) -> list[FoundWeights]:
        """What the plugins say of a tag: the one that brings it, or else the paths that they fall back to.

        `plugin::tag` means that plugin's. The others are asked for the qualified tag, since one of them may hold the
        model whose tag it is.

        Raises:
            ConflictError: two plugins bring the tag.
        """
        asked: dict[str, Any] = {"name": resolved.name, "config": resolved.config, "tag": tag}
        given = self._ask_typed("resolve_pretrained", Weights, **asked)
        qualifier, _, bare = tag.rpartition("::")
        if qualifier:
            given += self._ask_typed("resolve_pretrained", Weights, to=qualifier, **{**asked, "tag": bare})
        answers = [FoundWeights(weights, plugin) for plugin, weights in given]
        tagged = [found for found in answers if found.weights.tag is not None]
        if resolved.qualifier is not None and len(tagged) > 1:
            named = [found for found in tagged if found.plugin and found.plugin.name == resolved.qualifier]
            tagged = named or tagged
        if len(tagged) > 1:
            places = [(found.plugin, found.plugin.location) for found in tagged if found.plugin]
            raise _conflict(f"The tag {tag!r} of {resolved.name!r}", places, tag)
        return tagged or answers

    def owner(self, config: ModelConfig) -> Plugin:
        """The plugin whose architecture a config has.

        Raises:
            PluginError: there is no such plugin.
        """
        found = next((p for p in self._host if p.active and p.name == config.architecture), None)
        if found is None:
            raise PluginError(
                f"A {type(config).__name__} has the architecture {config.architecture!r}, and no working plugin has "
                "that name. A config class names the plugin that builds it in its `architecture`."
            ) from self.broken()
        return found

    def fetchers(self) -> dict[str, Fetcher]:
        """Scheme -> fetcher, of all plugins.

        Raises:
            ConflictError: two plugins fetch from one scheme.
        """
        return self._united("fetchers", "The scheme")

    def public_classes(self) -> dict[str, str]:
        """Name -> "module:class", of all plugins.

        Raises:
            ConflictError: two plugins offer a class of one name.
        """
        return self._united("public_classes", "The public class")

    def _united(self, hook: str, what: str) -> dict[str, Any]:
        """The tables that plugins answer a hook with, as one."""
        table: dict[str, tuple[Plugin, Any]] = {}
        for plugin, offered in self._ask_typed(hook, Mapping):
            for key, value in offered.items():
                if key in table:
                    other = table[key][0]
                    raise _conflict(f"{what} {key!r}", [(p, p.location) for p in (other, plugin)], None)
                table[key] = plugin, value
        return {key: value for key, (_, value) in table.items()}

    def rehearse(self) -> None:
        """Put every question that needs no answer to another, so that plugins which fail at one are known."""
        self.names()
        self.tags()
        self.descriptions()
        self._ask_typed("fetchers", Mapping)
        self._ask_typed("public_classes", Mapping)

    def broken(self) -> Exception | None:
        """The errors of broken plugins, as one exception to raise from."""
        errors = [plugin.error for plugin in self._host if plugin.error is not None]
        return errors[0] if len(errors) == 1 else ExceptionGroup("broken plugins", errors) if errors else None

    def _home(self, plugin: Plugin, name: str) -> Home | None:
        home: object = self._host.ask_one(plugin, "resolve_home", name=name)
        if home is None or isinstance(home, Home):
            return home
        raise PluginError(
            f"Plugin {plugin} answered its hook resolve_home with a {type(home).__name__}, expected a Home or None. "
            f"Nothing was built; the fault is in {plugin.location}."
        )

    def _unknown(self, wanted: ModelName) -> UnknownModelError:
        close = did_you_mean(wanted.name, self.names())  # first: a plugin may fail at being asked for its names
        asked = [plugin for plugin in self._host if plugin.active]
        broken = [plugin for plugin in self._host if plugin.error is not None]
        lines = [f"There is no model {wanted.given!r}.{close}"]
        if wanted.plugin is not None and wanted.plugin not in {plugin.name for plugin in asked}:
            lines.append(f"There is no working plugin {wanted.plugin!r}.")
        lines.append(f"Asked: {listing(map(str, asked)) or 'no plugin'}.")
        switched_off = [f"{plugin} (by {plugin.disabled})" for plugin in self._host if plugin.disabled]
        if switched_off:
            lines.append(f"Switched off: {listing(switched_off)}.")
        if broken:
            lines.append(f"Not asked or failing: {listing(map(str, broken))}; the cause is below.")
        lines.append("`registry.list_models()` returns all names; registry.add_config adds one of your own.")
        error = UnknownModelError(" ".join(lines))
        error.__cause__ = self.broken()
        return error


def _conflict(what: str, places: list[tuple[Plugin, str]], name: str | None) -> ConflictError:
    who = " and ".join(f"{plugin} in {where}" for plugin, where in places)
    qualified = " or ".join(f"'{plugin.name}::{name}'" for plugin, _ in places)
    advice = f"Say which is meant by {qualified}, or" if name and len({p.name for p, _ in places}) > 1 else "Rename or"
    return ConflictError(f"{what} is answered more than once: by {who}. None was chosen. {advice} uninstall one.")
