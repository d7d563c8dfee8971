"""What the caller's `pretrained` stands for: a tag, or a path where no tag answers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from registry_core.arguments import path_of
from registry_core.errors import IntegrityError, OverrideError, UnknownWeightsError, did_you_mean, listing
from registry_core.lookup import FoundWeights, Lookup, Resolved
from registry_core.weights import LocalFile, Url, Weights, local_weights

Pretrained = str | os.PathLike[str]


def find_weights(
    lookup: Lookup, resolved: Resolved, pretrained: Pretrained | bool | None, weights_of: str | None = None
) -> FoundWeights | None:
    """The weights that are meant, or None where none are.

    Args:
        lookup: asks the plugins.
        resolved: the model.
        pretrained: a tag or a path; a path object is never taken for a tag. None means the weights that the name
            brings itself, if it does; False and "" mean no weights.
        weights_of: the tag whose file a path is.

    Raises:
        UnknownWeightsError: neither a tag nor a path.
        OverrideError: `weights_of` without a path, or a `pretrained` that is no name.
        ConflictError: two plugins bring the tag.
    """
    if pretrained is True:
        raise _no_name(resolved, pretrained)
    if pretrained is None and weights_of is None and resolved.home is not None:
        return FoundWeights(resolved.home.weights(), resolved.plugin)
    if not pretrained:
        if weights_of is not None:
            raise OverrideError(
                f"weights_of={weights_of!r} says which tag's file a path is; pretrained= gives no path."
            )
        return None
    if not isinstance(pretrained, (str, os.PathLike)):
        raise _no_name(resolved, pretrained)
    if weights_of is not None:
        return FoundWeights(_as_of_tag(lookup, resolved, pretrained, weights_of), None)
    answers = lookup.tag(resolved, pretrained) if isinstance(pretrained, str) else []
    if answers:
        return answers[0]
    path = local_weights(os.fspath(pretrained))
    if path is None:
        raise _unknown(lookup, resolved, os.fspath(pretrained))
    return FoundWeights(path, None)


def confirm(path: Path, of: Weights) -> str:
    """Compare a user's file with the hash of the tag that it is said to be of; the finding as a note.

    Raises:
        IntegrityError: the tag has this one file, and the path holds another.
    """
    prefix = next((source.sha256_prefix for source in of.sources if isinstance(source, Url)), "")
    if not prefix:
        return f"no hash is known for tag {of.tag!r}: that the file is its own was not confirmed"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found.startswith(prefix):
        return f"the file is that of tag {of.tag!r}, by its SHA-256"
    if len(of.sources) > 1:  # the hub's file of the same weights is another serialisation
        return (
            f"the file is not the one at tag {of.tag!r}'s URL (SHA-256); it may be the hub's, whose hash is not known"
        )
    raise IntegrityError(
        f"{path} is not the file of tag {of.tag!r}: its SHA-256 should start with {prefix}, is {found}. Nothing was "
        "loaded. Leave weights_of= out to load the file as it is."
    )


def findings(
    lookup: Lookup, resolved: Resolved, found: FoundWeights | None, pretrained: Pretrained | bool | None
) -> list[str]:
    """What a report should say about the choice of the weights.

    Raises:
        IntegrityError: see `confirm`.
    """
    if found is None or isinstance(pretrained, bool) or pretrained is None:
        return []
    weights = found.weights
    notes = [f"the weights that {resolved.name} brings itself were not read"] if resolved.home else []
    if weights.tag is not None:
        there = Path(pretrained).exists()
        return [*notes, f"a file {pretrained!s} is there too; the tag was taken"] if there else notes
    tagged = tag_of(lookup, resolved, weights.of_tag) if weights.of_tag else None
    if tagged is not None:
        return [*notes, confirm(Path(pretrained).expanduser(), tagged)]
    return [*notes, "activation and preprocessing are the config's: a path states none (weights_of= would)"]


def tag_of(lookup: Lookup, resolved: Resolved, tag: str) -> Weights | None:
    """A tag's weights, or None; paths are not looked at."""
    answers = lookup.tag(resolved, tag)
    return answers[0].weights if answers and answers[0].weights.tag is not None else None


def _as_of_tag(lookup: Lookup, resolved: Resolved, pretrained: Pretrained, weights_of: str) -> Weights:
    path, tagged = local_weights(os.fspath(pretrained)), tag_of(lookup, resolved, weights_of)
    if path is None or not isinstance(path.sources[0], LocalFile):
        raise OverrideError(
            f"weights_of={weights_of!r} says which tag's file a path is, and no file is at {os.fspath(pretrained)!r}. "
            "Nothing was built."
        )
    if tagged is None:
        raise _unknown(lookup, resolved, weights_of)
    return replace(path, stated=tagged.stated, of_tag=weights_of)


def _no_name(resolved: Resolved, given: object) -> OverrideError:
    return OverrideError(
        f"pretrained={given!r} names no weights. Give a tag of {resolved.name}, or a path. Nothing was built."
    )


def _unknown(lookup: Lookup, resolved: Resolved, given: str) -> UnknownWeightsError:
    tags = [tag for model, tag in lookup.tags() if model == resolved.name]
    return UnknownWeightsError(
        f"{resolved.name} has no weights {given!r}: it is none of its tags, and no file is at that path."
        f"{did_you_mean(given, tags)} Its tags are: {listing(tags, 40) or 'none'}. Nothing was built; give one of "
        "them, or the path of a checkpoint."
    )


def tower_files(**given: Pretrained | None) -> dict[str, Path]:
    """The files of towers that have weights of their own, by tower.

    Raises:
        OverrideError: something else than paths.
        UnknownWeightsError: nothing is at a path. A tower that was asked to be filled never stays random.
    """
    files = {tower: path_of(f"{tower}_weights", path) for tower, path in given.items() if path is not None}
    for tower, path in files.items():
        if not path.exists():
            raise UnknownWeightsError(
                f"{tower}_weights={str(path)!r}: no file is at that path. Nothing was built; correct it, or leave it "
                "out."
            )
    return files
