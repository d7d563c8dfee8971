"""What the argument `pretrained` refers to: a tag, or a path if no tag has that name."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from registry_core.arguments import path_of
from registry_core.errors import IntegrityError, OverrideError, UnknownWeightsError, close_names, did_you_mean, listing
from registry_core.fetch.digest import file_sha256
from registry_core.fetch.sources import LocalFile, Url, Weights, local_weights, without_secrets
from registry_core.resolve.catalog import Catalog
from registry_core.resolve.lookup import Lookup
from registry_core.resolve.results import FoundWeights, Resolved

Pretrained = str | os.PathLike[str]

logger = logging.getLogger(__name__)


def find_weights(
    lookup: Lookup,
    catalog: Catalog,
    resolved: Resolved,
    pretrained: Pretrained | bool | None,
    weights_of: str | None = None,
) -> FoundWeights | None:
    """Return the weights that the caller asks for, or None.

    Args:
        lookup: Asks the plugins.
        catalog: Lists the tags, for suggestions.
        resolved: The model.
        pretrained: A tag or a path; a path object is never treated as a tag. None means the weights of the model
            repository, if the name refers to one. False and "" mean no weights.
        weights_of: The tag that the file at a path belongs to.

    Raises:
        UnknownWeightsError: `pretrained` is neither a tag nor an existing path.
        OverrideError: `weights_of` without a path, or a `pretrained` of another type.
        ConflictError: Two plugins provide the tag.
    """
    found = _find(lookup, catalog, resolved, pretrained, weights_of)
    if found is not None:
        answered = found.plugin or "no plugin: the path exists"
        logger.info("weights of %r: %s, answered by %s", resolved.name, without_secrets(str(found.weights)), answered)
    return found


def _find(
    lookup: Lookup, catalog: Catalog, resolved: Resolved, pretrained: Pretrained | bool | None, weights_of: str | None
) -> FoundWeights | None:
    if pretrained is None and weights_of is None and resolved.home is not None:
        return FoundWeights(resolved.home.weights(), resolved.plugin)
    if pretrained is not True and not pretrained:
        if weights_of is not None:
            raise OverrideError(
                f"weights_of={weights_of!r} states which tag's file a path is, but pretrained= gives no path.",
                argument="weights_of",
                found=weights_of,
            )
        return None
    if not isinstance(pretrained, (str, os.PathLike)):
        raise OverrideError(
            f"pretrained={pretrained!r} does not name weights. Nothing was built.",
            argument="pretrained",
            found=pretrained,
            advice=f"Give a tag of {resolved.name}, or a path.",
        )
    if weights_of is not None:
        return _as_of_tag(lookup, catalog, resolved, pretrained, weights_of)
    answers = lookup.tag(resolved, pretrained) if isinstance(pretrained, str) else []
    if answers:
        return answers[0]
    path = local_weights(os.fspath(pretrained))
    if path is None:
        raise _unknown(catalog, resolved, os.fspath(pretrained))
    return FoundWeights(path, None)


def verify_of_tag(found: FoundWeights | None, path: Path) -> str:
    """Compare a user's file with the SHA-256 of the tag that `weights_of` named. Reads the whole file.

    Args:
        found: The weights. Without `found.tagged`, nothing is compared.
        path: The file.

    Returns:
        A note for the report; empty if nothing was to be compared.

    Raises:
        IntegrityError: The tag has only one file, and the path holds another one.
    """
    if found is None or found.tagged is None:
        return ""
    tagged = found.tagged
    prefix = next((source.sha256_prefix for source in tagged.sources if isinstance(source, Url)), "")
    if not prefix:
        return f"no SHA-256 is known for tag {tagged.tag!r}, so the file could not be compared with it"
    sha256 = file_sha256(path)
    if sha256.startswith(prefix):
        return f"the file is that of tag {tagged.tag!r}, by its SHA-256"
    if len(tagged.sources) > 1:  # the hub may hold the same weights in another serialisation
        return (
            f"the file is not the one at the URL of tag {tagged.tag!r} (SHA-256); it may be the hub's file, whose "
            "SHA-256 is not known"
        )
    raise IntegrityError(
        f"{path} is not the file of tag {tagged.tag!r}: its SHA-256 should start with {prefix}, is {sha256}. Nothing "
        "was loaded.",
        path=path,
        expected=prefix,
        found=sha256,
        advice="Leave weights_of= out to load the file as it is.",
    )


def notes_on(resolved: Resolved, found: FoundWeights | None, pretrained: Pretrained | bool | None) -> list[str]:
    """Return what a report should say about the choice of the weights. No file is read."""
    if found is None or isinstance(pretrained, bool) or pretrained is None:
        return []
    notes = [f"the weights of {resolved.name} itself were not read"] if resolved.home else []
    if found.weights.tag is not None and Path(pretrained).exists():
        notes.append(f"a file {pretrained!s} exists too; the tag was used")
    if found.weights.tag is None and found.tagged is None:
        notes.append(
            "activation and preprocessing are those of the config: a path does not state them (weights_of= does)"
        )
    return notes


def tag_of(lookup: Lookup, resolved: Resolved, tag: str) -> Weights | None:
    """Return the weights of a tag, or None. Paths are not tried."""
    answers = lookup.tag(resolved, tag)
    return answers[0].weights if answers and answers[0].weights.tag is not None else None


def tower_files(**given: Pretrained | None) -> dict[str, Path]:
    """Return the files of towers with separate weights, by tower.

    Raises:
        OverrideError: An argument is not a path.
        UnknownWeightsError: A path does not exist. A tower that should be loaded is never left with random values.
    """
    files = {tower: path_of(f"{tower}_weights", path) for tower, path in given.items() if path is not None}
    for tower, path in files.items():
        if not path.exists():
            raise UnknownWeightsError(
                f"{tower}_weights={str(path)!r}: there is no file at that path. Nothing was built.",
                argument=f"{tower}_weights",
                path=path,
                advice="Correct the path, or leave it out.",
            )
    return files


def _as_of_tag(
    lookup: Lookup, catalog: Catalog, resolved: Resolved, pretrained: Pretrained, weights_of: str
) -> FoundWeights:
    path, tagged = local_weights(os.fspath(pretrained)), tag_of(lookup, resolved, weights_of)
    if path is None or not isinstance(path.sources[0], LocalFile):
        raise OverrideError(
            f"weights_of={weights_of!r} states which tag's file a path is, but there is no file at "
            f"{os.fspath(pretrained)!r}. Nothing was built.",
            argument="weights_of",
            found=os.fspath(pretrained),
        )
    if tagged is None:
        raise _unknown(catalog, resolved, weights_of)
    return FoundWeights(replace(path, stated=tagged.stated, of_tag=weights_of), None, tagged)


def _unknown(catalog: Catalog, resolved: Resolved, given: str) -> UnknownWeightsError:
    tags = [tag for model, tag in catalog.tags() if model == resolved.name]
    return UnknownWeightsError(
        f"{resolved.name} has no weights {given!r}: it is not one of its tags, and there is no file at that path."
        f"{did_you_mean(given, tags)} Its tags are: {listing(tags, 40) or 'none'}. Nothing was built.",
        name=given,
        expected=tags,
        suggestions=close_names(given, tags),
        advice="Give one of them, or the path of a checkpoint.",
    )
