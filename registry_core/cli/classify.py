"""The command that classifies images: classify."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from registry_core.cli.command import Adder, Answer
from registry_core.cli.model_options import add_creation_options, add_weights_options, create_arguments
from registry_core.errors import InputError, OverrideError
from registry_core.registry import Registry
from registry_core.render import columns, printable
from registry_core.zero_shot.aspects import CONTENT, Classified
from registry_core.zero_shot.image_files import ImageFiles, find_images

_SHOWN = 5  # labels that the table shows for each aspect
_FEW = 8  # up to so many images, no progress bar is shown
_STANDARD_INPUT = "-"
_INDEPENDENT = "The probabilities are independent (sigmoid), as this model was trained. They do not add up to 1."


def add_commands(add: Adder) -> None:
    """Add the command of this module."""
    command = add(
        "classify", _classify, "print the probability of each label for images; for a DA-CLIP, degradations too"
    )
    command.add_argument("image", nargs="+", metavar="IMAGE", help="a file, a folder, or - for paths on stdin")
    command.add_argument("--model", metavar="NAME", required=True)
    add_weights_options(command)
    labels = command.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="LABEL,LABEL", help="such as 'cat, dog, \"Washington, D.C.\"'")
    labels.add_argument("--labels-file", metavar="FILE", help="a UTF-8 file with one label per line")
    prompts = command.add_mutually_exclusive_group()
    prompts.add_argument("--template", metavar="TEXT", action="append", help="such as 'a photo of a {}.'; repeatable")
    prompts.add_argument("--imagenet-templates", action="store_true", help="OpenAI's 80 templates of ImageNet")
    command.add_argument(
        "--top", metavar="K", type=int, help=f"only the K most probable labels; the table shows {_SHOWN}"
    )
    command.add_argument("--batch-size", metavar="N", type=int, default=32)
    command.add_argument(
        "--jsonl", action="store_true", help="print one line of JSON for each image as soon as it is done"
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    add_creation_options(command)


def _classify(registry: Registry, options: argparse.Namespace) -> Answer | None:
    labels, keywords = _labels(options), create_arguments(options)
    if options.top is not None and options.top < 1:
        raise InputError(
            f"--top {options.top}: expected a positive number of labels. Nothing was classified.",
            argument="--top",
            found=options.top,
        )
    _refuse_random(registry, options)
    files = find_images(_entries(options.image))
    if len(files.problems) == len(files.paths):  # no model is needed to report these
        return _answer(_merged(files, iter(())), options, kind="")
    model = registry.create(options.model, **keywords)
    classifier = registry.classifier(model, labels, templates=_templates(options), batch_size=options.batch_size)
    kind = "sigmoid" if classifier.independent else "softmax"
    readable = (path for path in files.paths if path not in files.problems)
    results = _merged(files, classifier(readable, strict=False))
    return _answer(_with_bar(results, len(files.paths), quiet=options.quiet), options, kind)


def _answer(results: Iterable[Classified], options: argparse.Namespace, kind: str) -> Answer | None:
    """Collect the results, or with `--jsonl` print each one as soon as it is ready."""
    most = options.top if options.json or options.jsonl else options.top or _SHOWN
    rows = []
    for result in results:
        row: dict[str, Any] = {"image": result.image}
        if result.error:
            options.exit_status = 1
            row["error"] = result.error
        else:
            row |= {"kind": kind, "best": result.best, "probabilities": result.top(most)}
        if options.jsonl:
            print(json.dumps(row), file=options.output, flush=True)
        else:
            rows.append(row)
    return None if options.jsonl else _collected(rows, options)


def _collected(rows: list[dict[str, Any]], options: argparse.Namespace) -> Answer | None:
    """Return the rows. If they are shown as a table, print the failures to standard error."""
    good = [row for row in rows if "error" not in row]
    if not options.json:
        for row in rows:
            if "error" in row:
                print(f"registry-core: {_one_line(row['image'])}: {row['error']}", file=sys.stderr)  # noqa: T201
        if not good:
            return None
    return rows, lambda: _table(good)


def _table(rows: list[dict[str, Any]]) -> str:
    several = any(set(row["probabilities"]) != {CONTENT} for row in rows)
    cells = []
    for row in rows:
        name = _one_line(row["image"])
        for aspect, found in row["probabilities"].items():
            labels, values = "\n".join(map(_one_line, found)), "\n".join(f"{value:.4f}" for value in found.values())
            cells.append((name, *((aspect,) if several else ()), labels, values))
            name = ""
    table = columns(("image", *(("aspect",) if several else ()), "label", "probability"), cells)
    return f"{table}\n{_INDEPENDENT}" if any(row["kind"] == "sigmoid" for row in rows) else table


def _merged(files: ImageFiles, results: Iterator[Classified]) -> Iterator[Classified]:
    """Yield the results in the order of the paths, including the paths that are known to be unreadable."""
    for path in files.paths:
        yield Classified(path, error=files.problems[path]) if path in files.problems else next(results)


def _with_bar(results: Iterator[Classified], count: int, *, quiet: bool) -> Iterable[Classified]:
    from tqdm import tqdm

    hidden = True if quiet or count <= _FEW else None  # None hides it only if standard error is not a terminal
    return tqdm(results, total=count, unit="image", disable=hidden)


def _entries(given: list[str]) -> Iterator[str]:
    """Yield the paths of the command line. `-` is replaced by the paths on standard input."""
    return chain.from_iterable(_standard_input() if entry == _STANDARD_INPUT else (entry,) for entry in given)


def _standard_input() -> Iterator[str]:
    for line in sys.stdin.buffer:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path:
            yield path


def _labels(options: argparse.Namespace) -> list[str]:
    if options.labels_file is not None:
        try:
            lines = Path(options.labels_file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(
                f"--labels-file {options.labels_file} could not be read: {error}. Expected UTF-8 text with one label "
                "per line. Nothing was classified.",
                argument="--labels-file",
                path=Path(options.labels_file),
            ) from error
        return [line.strip() for line in lines if line.strip()]
    # A line break separates labels like a comma. Without this split, csv raises an error for one outside quotes.
    rows = csv.reader((options.labels or "").splitlines(keepends=True), skipinitialspace=True)
    return [label.strip() for row in rows for label in row if label.strip()]


def _templates(options: argparse.Namespace) -> list[str] | None:
    if options.imagenet_templates:
        from registry_core.zero_shot.prompts import OPENAI_IMAGENET_TEMPLATES

        return list(OPENAI_IMAGENET_TEMPLATES)
    templates: list[str] | None = options.template
    return templates


def _refuse_random(registry: Registry, options: argparse.Namespace) -> None:
    if options.pretrained is not None or options.random:
        return
    resolved = registry.services.resolve(options.model, None if options.cache_dir is None else Path(options.cache_dir))
    if registry.services.find_weights(resolved, None, options.weights_of) is None:
        raise OverrideError(
            f"{options.model} without --pretrained has random weights, so its probabilities would mean nothing. "
            "Nothing was classified.",
            name=options.model,
            argument="--pretrained",
            advice=f"Give a tag (`registry-core show {options.model}` lists them) or a path. To use random weights "
            "anyway, give --random.",
        )


def _one_line(text: str) -> str:
    """Return a text without line breaks, for a cell of the table."""
    return printable(text).replace("\n", "\\n")
