"""The commands that save a model: save writes it into a folder, push uploads it to the hub."""

from __future__ import annotations

import argparse

from registry_core.cli.command import Adder, Answer
from registry_core.cli.model_options import add_model_options, create_from
from registry_core.registry import Registry
from registry_core.render import facts


def add_commands(add: Adder) -> None:
    """Add the commands of this module."""
    save = add("save", _save, "write a model into a folder: config, weights as safetensors, tokenizer, model card")
    add_model_options(save)
    save.add_argument("folder", metavar="FOLDER")
    push = add("push", _push, "upload a model to the Hugging Face hub, as one commit")
    add_model_options(push)
    push.add_argument("--repo", required=True, metavar="ORG/NAME", help="created if it does not exist")
    push.add_argument("--revision", metavar="BRANCH", help="an existing branch, instead of the main one")
    push.add_argument("--private", action="store_true", help="create the repository as a private one")
    push.add_argument("--create-pr", action="store_true", help="propose the commit as a pull request")
    push.add_argument("--message", help="message of the commit")


def _save(registry: Registry, options: argparse.Namespace) -> Answer:
    model = create_from(registry, options)
    folder = registry.save(model, options.folder)
    report = registry.report(model)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    data = {"folder": str(folder), "files": files, "report": report.to_dict()}
    listed = "\n".join(f"{name}, {size:,} bytes" for name, size in files.items())
    return data, lambda: f"{report}\n\n{facts([('folder', str(folder)), ('files', listed)])}"


def _push(registry: Registry, options: argparse.Namespace) -> Answer:
    model = create_from(registry, options)
    url = registry.push(
        model,
        options.repo,
        revision=options.revision,
        private=options.private,
        create_pr=options.create_pr,
        commit_message=options.message,
    )
    report = registry.report(model)
    return {"url": url, "report": report.to_dict()}, lambda: f"{report}\n\n{facts([('pushed', url)])}"
