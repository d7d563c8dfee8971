"""A config of the user, added as a model."""

from __future__ import annotations

import os
from collections.abc import Mapping

from registry_core.config.user import read_config, refuse_taken, share_config
from registry_core.resolve.services import Services


def add_user_config(
    services: Services, source: str | os.PathLike[str] | Mapping[str, object], name: str | None, *, share: bool
) -> str:
    """Add a config and return the name of its model.

    Raises:
        TakenNameError, ConfigError: As for `Registry.add_config`.
    """
    catalog = services.catalog
    key, config = read_config(source, name)
    known = catalog.user_configs().get(key)
    if known is None or known.raw != config.raw:
        refuse_taken(key, config, catalog.names(), "Give it another name: add_config(..., name='my-model').")
    services.claim(config.raw, config.origin)
    if share:
        share_config(key, source)
    elif known is None:
        catalog.added[key] = config
    return key
