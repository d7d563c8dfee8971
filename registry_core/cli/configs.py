"""The option `--config`: adds the user's configs for this run, and for the processes that the run starts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry_core.config.user import ENVIRONMENT, add_to_path, configs_in, is_same_file, naming, refuse_taken
from registry_core.errors import ConfigError
from registry_core.registry import Registry

OPTION = "--config"
_PREFIX = "config_of_"


def add_config_option(parser: argparse.ArgumentParser, level: str) -> None:
    """Give a parser the option. `level` keeps the files of an outer parser and of an inner one apart."""
    parser.add_argument(
        OPTION,
        dest=_PREFIX + level,
        metavar="FILE",
        action="append",
        default=[],
        help="add a model by its JSON config, or a folder of configs; the file's stem is the model's name; repeatable",
    )


@contextmanager
def with_configs(registry: Registry, options: argparse.Namespace) -> Iterator[None]:
    """Add the files of `--config` to REGISTRY_CORE_CONFIG_PATH, and restore the environment afterwards.

    Raises:
        TakenNameError: A model with the name of a config exists.
        ConfigError: A file cannot be read, no plugin claims its config, its config is invalid, or two files have the
            same name.
    """
    entries = [entry for key, values in vars(options).items() if key.startswith(_PREFIX) for entry in values]
    before = os.environ.get(ENVIRONMENT)
    try:
        if entries:
            _add(registry, entries)
        yield
    finally:
        if before is not None:
            os.environ[ENVIRONMENT] = before
        else:
            os.environ.pop(ENVIRONMENT, None)


def _add(registry: Registry, entries: Sequence[str]) -> None:
    known, names = registry.services.catalog.user_configs(), registry.services.catalog.names()
    for name, config in configs_in(entries, OPTION).items():
        if name in known and is_same_file(known[name].origin, config.origin):
            continue
        refuse_taken(name, config, names, f"{OPTION} names a model after its file: rename the file.")
        try:
            registry.services.claim(config.raw, config.origin)
        except ConfigError as error:
            raise naming(error, OPTION) from error
    add_to_path([Path(entry) for entry in entries])
