from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from registry_core import FetchError, Home, PictureAspects, Registry, hookimpl
from registry_core.evaluation import evaluating
from registry_core.fetch import Fetched
from registry_core.home import Home as HomeByItsModule
from registry_core.plugins import Plugin
from registry_core.safe_names import is_repository
from registry_core.strict import StrictModel
from registry_core.tables import model_table, tag_table, tag_weights
from registry_core.user_configs import read_raw
from registry_core.weights import LocalFile, Weights

MODELS, TAGS = model_table(__package__), tag_table(__package__)
USED = (PictureAspects, Registry, evaluating, HomeByItsModule, Plugin, is_repository, StrictModel)


@dataclass(frozen=True)
class Shelf(Home):
    """A folder by the name `acme-shelf:folder`."""

    folder: Path

    @property
    def config(self):
        return LocalFile(self.folder / "open_clip_config.json")

    def file(self, name):
        return LocalFile(self.folder / name)

    def weights(self):
        return Weights((LocalFile(self.folder / "open_clip_model.safetensors"),))


@hookimpl
def list_models():
    return MODELS()


@hookimpl
def list_pretrained():
    return list(TAGS())


@hookimpl
def resolve_config(name, raw, registry):
    if raw is not None:
        return None
    shelf = resolve_home(name)
    if shelf is not None:
        return registry.services.claim(read_raw(shelf.config.path), name).config
    return registry.services.claim(MODELS()[name], name).config if name in MODELS() else None


@hookimpl
def resolve_home(name):
    scheme, _, folder = name.partition("acme-shelf:")
    return Shelf(Path(folder)) if folder and not scheme else None


@hookimpl
def resolve_pretrained(name, tag):
    row = TAGS().get((name, tag))
    return None if row is None else tag_weights(tag, row)


def fetch(source, context):
    path = Path(os.environ.get("ACME_FIRST", context.folder)) / "acme-first.pt"
    if not path.exists():
        raise FetchError(f"{path} is not there.")
    return Fetched(path)


@hookimpl
def fetchers():
    return {"acme-first": fetch}
