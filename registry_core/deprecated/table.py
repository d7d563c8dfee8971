"""Old names -> new names. A plugin that was written for an older release may import the old ones."""

from __future__ import annotations

# Old module -> the modules that hold its names now.
MODULES: dict[str, tuple[str, ...]] = {
    "registry_core.aspects": ("registry_core.zero_shot.aspects",),
    "registry_core.cache": ("registry_core.fetch.cache",),
    "registry_core.checkpoint.save": ("registry_core.export.save", "registry_core.fetch.repository"),
    "registry_core.classify": ("registry_core.zero_shot.classifier",),
    "registry_core.doctor": ("registry_core.diagnose.doctor",),
    "registry_core.evaluation": ("registry_core.towers.eval_mode",),
    "registry_core.explain": ("registry_core.diagnose.explain",),
    "registry_core.factory": ("registry_core.registry",),
    "registry_core.home": ("registry_core.fetch.repository",),
    "registry_core.lookup": ("registry_core.resolve.lookup", "registry_core.resolve.results"),
    "registry_core.names": ("registry_core.config.names",),
    "registry_core.picture_files": ("registry_core.zero_shot.image_files",),
    "registry_core.plugins": ("registry_core.hooks.host", "registry_core.hooks.plugin"),
    "registry_core.precision": ("registry_core.towers.precision",),
    "registry_core.safe_names": ("registry_core.path_safety",),
    "registry_core.selection": ("registry_core.hooks.selection",),
    "registry_core.services": ("registry_core.resolve.services",),
    "registry_core.strict": ("registry_core.config.base",),
    "registry_core.tables": ("registry_core.config.tables",),
    "registry_core.tags": ("registry_core.resolve.pretrained",),
    "registry_core.tower_configs": ("registry_core.config.towers",),
    "registry_core.trace": ("registry_core.hooks.trace",),
    "registry_core.user_configs": ("registry_core.config.user",),
    "registry_core.weights": ("registry_core.fetch.sources",),
}

# Old name of a class or function -> its new name.
RENAMED = {"Home": "ModelRepository", "PictureAspects": "ImageAspects"}
