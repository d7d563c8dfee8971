"""The options that say which model to create, and how; several commands have them."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from registry_core.errors import OverrideError, did_you_mean
from registry_core.factory import Registry
from registry_core.settle import FLAT_OVERRIDES, NESTED_OVERRIDES

if TYPE_CHECKING:
    from torch import nn

_PASSED_ON = ("pretrained", "device", "precision", "mmap", "weights_of", "cache_dir")


def add_weights_options(command: argparse.ArgumentParser) -> None:
    """The weights, and overrides of the config."""
    command.add_argument("--pretrained", metavar="TAG_OR_PATH")
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a config key")


def add_creation_options(command: argparse.ArgumentParser) -> None:
    """What `creation` reads, beside the options of `add_weights_options`."""
    command.add_argument("--random", action="store_true", help="random weights are meant, without --pretrained")
    command.add_argument("--device", default="cpu")
    command.add_argument("--precision", default="fp32")
    command.add_argument("--mmap", action="store_true", help="map the file instead of reading it")
    command.add_argument("--weights-of", metavar="TAG", help="the tag whose file the path is")
    command.add_argument("--cache-dir", metavar="FOLDER")


def add_model_options(command: argparse.ArgumentParser) -> None:
    """All that `created` reads: the name of a model, and everything that `create` takes."""
    command.add_argument("name")
    add_weights_options(command)
    add_creation_options(command)
    command.add_argument("--tower", choices=("image", "text"))
    command.add_argument("--lenient", action="store_true", help="load what fits, report the rest")


def created(registry: Registry, options: argparse.Namespace) -> nn.Module:
    """The model that the options of `add_model_options` ask for.

    Raises:
        RegistryError: as `create`; OverrideError where two options exclude each other.
    """
    return registry.create(options.name, tower=options.tower, strict=not options.lenient, **creation(options))


def creation(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords of Registry.create that the options say.

    Raises:
        OverrideError: options that contradict each other, or overrides that mean nothing.
    """
    chosen = {name: getattr(options, name) for name in _PASSED_ON}
    if options.random:
        if options.pretrained is not None:
            raise OverrideError("--random and --pretrained exclude each other. Nothing was built; leave one out.")
        chosen["pretrained"] = False
    return {**chosen, **overrides(options.set)}


def overrides(settings: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` settings; values are JSON where they can be, else text.

    Raises:
        OverrideError: no `=`, or a key that cannot be overridden.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise OverrideError(f"--set {setting}: expected KEY=VALUE, such as --set image_size=336.")
        known = (*FLAT_OVERRIDES, *NESTED_OVERRIDES)
        if key not in known:
            raise OverrideError(f"--set {setting}: unknown key.{did_you_mean(key, known)} Keys are {', '.join(known)}.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
