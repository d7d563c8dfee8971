"""The options that several commands share: which model to create, and how."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from registry_core.config.overrides import FLAT_OVERRIDES, NESTED_OVERRIDES
from registry_core.errors import OverrideError, close_names, did_you_mean
from registry_core.registry import Registry

if TYPE_CHECKING:
    from torch import nn

_CREATE_ARGUMENTS = ("pretrained", "device", "precision", "mmap", "weights_of", "cache_dir")


def add_weights_options(command: argparse.ArgumentParser) -> None:
    """Add the options for the weights and for overrides of the config."""
    command.add_argument("--pretrained", metavar="TAG_OR_PATH", help="a tag of the model, or a checkpoint")
    command.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a config key; repeatable"
    )


def add_creation_options(command: argparse.ArgumentParser) -> None:
    """Add the options that `create_arguments` reads in addition to those of `add_weights_options`."""
    command.add_argument("--random", action="store_true", help="use random weights, without a warning")
    command.add_argument("--device", default="cpu")
    command.add_argument("--precision", default="fp32")
    command.add_argument("--mmap", action="store_true", help="map the file instead of reading it")
    command.add_argument("--weights-of", metavar="TAG", help="the tag that the checkpoint belongs to")
    command.add_argument("--cache-dir", metavar="FOLDER")


def add_model_options(command: argparse.ArgumentParser) -> None:
    """Add the name of a model and the options that `create_from` reads."""
    command.add_argument("name")
    add_weights_options(command)
    add_creation_options(command)
    command.add_argument("--tower", choices=("image", "text"))
    command.add_argument("--lenient", action="store_true", help="load the tensors that fit, report the others")


def create_from(registry: Registry, options: argparse.Namespace) -> nn.Module:
    """Create the model that the options of `add_model_options` describe.

    Raises:
        RegistryError: As for `Registry.create`.
        OverrideError: Two options exclude each other.
    """
    return registry.create(options.name, tower=options.tower, strict=not options.lenient, **create_arguments(options))


def create_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `Registry.create` that the options give.

    Raises:
        OverrideError: Two options exclude each other, or a setting is not an override.
    """
    chosen = {name: getattr(options, name) for name in _CREATE_ARGUMENTS}
    if options.random:
        if options.pretrained is not None:
            raise OverrideError(
                "--random and --pretrained exclude each other. Nothing was built.",
                argument="--random",
                found=options.pretrained,
                advice="Leave one out.",
            )
        chosen["pretrained"] = False
    return {**chosen, **overrides_from(options.set)}


def overrides_from(settings: list[str]) -> dict[str, Any]:
    """Return key -> value of `KEY=VALUE` settings. A value that is not JSON is a string.

    Raises:
        OverrideError: A setting has no `=`, or its key cannot be overridden.
    """
    found: dict[str, Any] = {}
    known = (*FLAT_OVERRIDES, *NESTED_OVERRIDES)
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise OverrideError(
                f"--set {setting}: expected KEY=VALUE, such as --set image_size=336.",
                argument="--set",
                expected="KEY=VALUE",
                found=setting,
            )
        if key not in known:
            raise OverrideError(
                f"--set {setting}: unknown key.{did_you_mean(key, known)} Keys are {', '.join(known)}.",
                name=key,
                argument="--set",
                expected=known,
                found=key,
                suggestions=close_names(key, known),
            )
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
