"""Create a model from a name. torch is imported only when the name and the weights are known."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.checkpoint.index import is_left
from registry_core.errors import RandomWeightsWarning, listing
from registry_core.fetch.settings import Settings
from registry_core.report import report_of
from registry_core.resolve.pretrained import Pretrained, notes_on, verify_of_tag
from registry_core.resolve.services import Services

if TYPE_CHECKING:
    from torch import nn

    from registry_core.report import LoadReport


def create_model(
    services: Services,
    name: str,
    overrides: Mapping[str, Any],
    tower_files: Mapping[str, Path],
    *,
    pretrained: Pretrained | bool | None,
    weights_of: str | None,
    cache_dir: Path | None,
    device: str,
    **options: Any,
) -> nn.Module:
    """Return the model that the arguments of `Registry.create` describe.

    Args:
        services: Resolve the name and the weights; their plugins build the model.
        name: Model name.
        overrides: Config keys of the caller.
        tower_files: Checkpoints of single towers, by tower.
        pretrained: A tag, a path, None or False.
        weights_of: The tag whose file a path is.
        cache_dir: Where downloads are kept; None means the usual folder.
        device: Where the model goes.
        **options: The further fields of BuildRequest: precision, tower, strict, mmap.

    Raises:
        RegistryError: As for `Registry.create`.
    """
    resolved = services.resolve(name, cache_dir)
    if pretrained is None and device == "meta":  # an empty shell holds no weights, not even those of a repository
        pretrained = False
    found = services.find_weights(resolved, pretrained, weights_of)
    config = services.apply_overrides(resolved.config, found, overrides)
    resolved = replace(resolved, owner=services.owner(config.config))  # an override may change the owner
    # Offline a fetch takes no time, and a missing file fails before torch is imported. Online the request is checked
    # first, so that a wrong device does not wait for a download.
    fetched = services.fetch_found(resolved, found, cache_dir) if found and Settings.load().offline else None
    from registry_core.build.assemble import assemble
    from registry_core.build.request import BuildRequest

    request = BuildRequest(resolved, config, found, device, tower_files=tower_files, **options).checked()
    if found is not None and fetched is None:
        fetched = services.fetch_found(resolved, found, cache_dir)
    compared = [verify_of_tag(found, fetched.path)] if found and fetched else []
    model = assemble(services, request, fetched)
    report = report_of(model)
    report.notes += [*notes_on(resolved, found, pretrained), *filter(None, compared)]
    if found is None and device != "meta" and pretrained is not False:
        _warn_of_random_weights(model, report)
    return model


def _warn_of_random_weights(model: nn.Module, report: LoadReport) -> None:
    """Warn if neither a file nor the owner wrote a parameter.

    Parameters with a single element do not count: the config states their value.
    """
    loaded = set(report.loaded)
    names = [name for name, parameter in model.named_parameters() if parameter.numel() > 1 and name not in loaded]
    left = [name for name in names if not is_left(name, report.left_to_owner)]
    if not left:
        return
    where = f" in {listing(left, 3)}" if report.tower_files else ""
    warnings.warn(
        f"{report.name} was created with random weights{where}, since pretrained= was not given. Give a tag or a path, "
        "or pretrained=False if you want random weights.",
        RandomWeightsWarning,
        stacklevel=4,
    )
