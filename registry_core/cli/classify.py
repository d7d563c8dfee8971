"""The command about pictures: classify."""

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

from registry_core.aspects import CONTENT, Classified
from registry_core.cli.command import Adder, Answer
from registry_core.cli.model_options import add_creation_options, add_weights_options, creation
from registry_core.errors import InputError, OverrideError
from registry_core.factory import Registry
from registry_core.picture_files import PictureFiles, find_pictures
from registry_core.render import columns
from registry_core.tags import find_weights

_SHOWN = 5  # labels of an aspect in the table
_FEW = 8  # pictures that need no progress bar
_STANDARD_INPUT = "-"
_INDEPENDENT = "Each probability stands on its own (sigmoid), as this model was trained; they do not add up to 1."


def add_commands(add: Adder) -> None:
    """Put the command of this file on the command line."""
    command = add("classify", _classify, "the probability of each label for pictures; of a DA-CLIP, degradations too")
    command.add_argument("picture", nargs="+", metavar="PICTURE", help="a file, a folder, or - for paths on stdin")
    command.add_argument("--model", metavar="NAME", required=True)
    add_weights_options(command)
    labels = command.add_mutually_exclusive_group()
    labels.add_argument("--labels", metavar="LABEL,LABEL", help="such as 'cat, dog, \"Washington, D.C.\"'")
    labels.add_argument("--labels-file", metavar="FILE", help="a label a line")
    prompts = command.add_mutually_exclusive_group()
    prompts.add_argument("--template", metavar="TEXT", action="append", help="such as 'a photo of a {}.'; repeatable")
    prompts.add_argument("--imagenet-templates", action="store_true", help="OpenAI's 80 templates of ImageNet")
    command.add_argument(
        "--top", metavar="K", type=int, help=f"the most probable labels only; the table shows {_SHOWN}"
    )
    command.add_argument("--batch-size", metavar="N", type=int, default=32)
    command.add_argument("--jsonl", action="store_true", help="print a line of JSON for each picture as it is done")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    add_creation_options(command)


def _classify(registry: Registry, options: argparse.Namespace) -> Answer | None:
    labels, keywords = _labels(options), creation(options)
    if options.top is not None and options.top < 1:
        raise InputError(f"--top {options.top}: expected a positive number of labels. Nothing was classified.")
    _refuse_random(registry, options)
    files = find_pictures(_entries(options.picture))
    if len(files.problems) == len(files.paths):  # then no model is needed to say so
        return _answer(_merged(files, iter(())), options, kind="")
    model = registry.create(options.model, **keywords)
    classifier = registry.classifier(model, labels, templates=_templates(options), batch_size=options.batch_size)
    kind = "sigmoid" if classifier.independent else "softmax"
    good = (path for path in files.paths if path not in files.problems)
    results = _merged(files, classifier(good, strict=False))
    return _answer(_with_bar(results, len(files.paths), quiet=options.quiet), options, kind)


def _answer(results: Iterable[Classified], options: argparse.Namespace, kind: str) -> Answer | None:
    """Collect the results, or print each as it comes."""
    most = options.top if options.json or options.jsonl else options.top or _SHOWN
    rows = []
    for result in results:
        row: dict[str, Any] = {"picture": result.picture}
        if result.error:
            options.exit_status = 1
            row["error"] = result.error
        else:
            row |= {"kind": kind, "best": result.best, "probabilities": result.top(most)}
        if options.jsonl:
            print(json.dumps(row), flush=True)  # noqa: T201
        else:
            rows.append(row)
    return None if options.jsonl else _told(rows, options)


def _told(rows: list[dict[str, Any]], options: argparse.Namespace) -> Answer | None:
    """The rows as JSON; or as a table, with what failed on standard error."""
    good = [row for row in rows if "error" not in row]
    if not options.json:
        for row in rows:
            if "error" in row:
                print(f"registry-core: {_printable(row['picture'])}: {row['error']}", file=sys.stderr)  # noqa: T201
        if not good:
            return None
    return rows, lambda: _table(good)


def _table(rows: list[dict[str, Any]]) -> str:
    several = any(set(row["probabilities"]) != {CONTENT} for row in rows)
    cells = []
    for row in rows:
        name = _printable(row["picture"])
        for aspect, found in row["probabilities"].items():
            labels, values = "\n".join(map(_printable, found)), "\n".join(f"{value:.4f}" for value in found.values())
            cells.append((name, *((aspect,) if several else ()), labels, values))
            name = ""
    table = columns(("picture", *(("aspect",) if several else ()), "label", "probability"), cells)
    return f"{table}\n{_INDEPENDENT}" if any(row["kind"] == "sigmoid" for row in rows) else table


def _merged(files: PictureFiles, results: Iterator[Classified]) -> Iterator[Classified]:
    """The results in the order of the paths, with what failed before in its place."""
    for path in files.paths:
        yield Classified(path, error=files.problems[path]) if path in files.problems else next(results)


def _with_bar(results: Iterator[Classified], count: int, *, quiet: bool) -> Iterable[Classified]:
    from tqdm import tqdm

    hidden = True if quiet or count <= _FEW else None  # None: where standard error is no terminal
    return tqdm(results, total=count, unit="picture", disable=hidden)


def _entries(given: list[str]) -> Iterator[str]:
    """The paths of the command line, with those on standard input in the place of `-`."""
    return chain.from_iterable(_lines() if entry == _STANDARD_INPUT else (entry,) for entry in given)


def _lines() -> Iterator[str]:
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
                f"--labels-file {options.labels_file} could not be read: {error}. Expected UTF-8 text with a label a "
                "line. Nothing was classified."
            ) from error
        return [line.strip() for line in lines if line.strip()]
    # A line break separates labels as a comma does; csv refuses one that stands in no quotes.
    rows = csv.reader((options.labels or "").splitlines(keepends=True), skipinitialspace=True)
    return [label.strip() for row in rows for label in row if label.strip()]


def _templates(options: argparse.Namespace) -> list[str] | None:
    if options.imagenet_templates:
        from registry_core.zero_shot import OPENAI_IMAGENET_TEMPLATES

        return list(OPENAI_IMAGENET_TEMPLATES)
    templates: list[str] | None = options.template
    return templates


def _refuse_random(registry: Registry, options: argparse.Namespace) -> None:
    if options.pretrained is not None or options.random:
        return
    resolved = registry.services.resolve(options.model, None if options.cache_dir is None else Path(options.cache_dir))
    if find_weights(registry.services.lookup, resolved, None, options.weights_of) is None:
        raise OverrideError(
            f"{options.model} without --pretrained has random weights, whose probabilities mean nothing. Nothing was "
            f"classified. Give a tag (`registry-core show {options.model}` lists them) or a path, or --random to say "
            "that random weights are meant."
        )


def _printable(text: str) -> str:
    """The text with anything escaped that would break a line or cannot be printed."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
