"""The option `--config` of every command: configs of the user's own, for this run and the processes that it starts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry_core.errors import ConfigError
from registry_core.factory import Registry
from registry_core.user_configs import ENVIRONMENT, add_to_path, configs_in, is_same_file, refuse_taken

OPTION = "--config"
_PREFIX = "config_of_"


def add_config_option(parser: argparse.ArgumentParser, level: str) -> None:
    """Give a parser the option. Each level has its own place: argparse lets an inner parser overwrite the outer's."""
    parser.add_argument(
        OPTION,
        dest=_PREFIX + level,
        metavar="FILE",
        action="append",
        default=[],
        help="a config of your own, or a folder of them: the file's stem is the model's name; may be repeated",
    )


@contextmanager
def with_configs(registry: Registry, options: argparse.Namespace) -> Iterator[None]:
    """Put the files of `--config` on REGISTRY_CORE_CONFIG_PATH, and leave the environment as it was afterwards.

    Raises:
        TakenNameError: a model of a config's name is there already.
        ConfigError: a file that cannot be read, nobody's, invalid, or one of two with one name.
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
    known, names = registry.services.lookup.user_configs(), registry.services.lookup.names()
    for name, config in configs_in(entries, OPTION).items():
        if name in known and is_same_file(known[name].origin, config.origin):
            continue
        refuse_taken(name, config, names, f"{OPTION} named it; the file's stem is the model's name: rename the file.")
        try:
            registry.services.claim(config.raw, config.origin)
        except ConfigError as error:
            raise ConfigError(f"{OPTION}: {error}") from error
    add_to_path([Path(entry) for entry in entries])
