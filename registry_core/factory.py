"""Registry: the front desk, and the one straight line from a name to a model.

resolve -> find_weights -> settle -> fetch -> | torch from here on: build -> load -> post_load -> precision -> device
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry_core.arguments import folder_of, path_of, text_of
from registry_core.cache import cache_folder
from registry_core.checkpoint.index import is_left
from registry_core.companions import Companions, PathLike
from registry_core.config import ModelConfig, RawConfig
from registry_core.errors import OverrideError, RandomWeightsWarning, listing
from registry_core.fetch import FetchContext, Fetched, Progress, Settings
from registry_core.lookup import FoundWeights, Resolved
from registry_core.names import ModelName
from registry_core.plugins import Plugin
from registry_core.services import Services
from registry_core.settle import settle
from registry_core.tags import find_weights, findings, tower_files
from registry_core.user_configs import read_config, refuse_taken, share_config
from registry_core.weights import Weights

if TYPE_CHECKING:
    from torch import nn

    from registry_core.explain import Explanation
    from registry_core.report import LoadReport


class Registry(Companions):
    """Models by name, and what goes with them.

    Args:
        plugins: modules or objects to use and no others; None means every installed one.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        super().__init__(Services(self, plugins))

    def create(
        self,
        name: str,
        pretrained: PathLike | bool | None = None,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        tower: str | None = None,
        strict: bool = True,
        mmap: bool = False,
        weights_of: str | None = None,
        image_weights: PathLike | None = None,
        text_weights: PathLike | None = None,
        cache_dir: PathLike | None = None,
        **overrides: Any,
    ) -> nn.Module:
        """A ready model, in evaluation mode.

        Args:
            name: a model name, as `list_models` gives them; `plugin::name` asks one plugin only.
            pretrained: a tag, or the path of a checkpoint where no tag has that name. None means the weights that the
                name brings itself (`hf-hub:`, `local-dir:`), else random ones and a warning; False means random ones.
            device: where the model goes; "meta" gives the empty shell, without weights and without memory.
            precision: fp32, fp16, bf16, pure_fp16, pure_bf16, or an amp variant, as open_clip means them.
            tower: "image" or "text" builds and reads that tower only.
            strict: anything missing, unexpected or mis-shaped in the checkpoint is an error; otherwise it is left out,
                filled with random values and reported.
            mmap: map the user's file instead of reading it: faster, but changing the file then breaks the model.
            weights_of: with a path, the tag whose file it is; that tag's preprocessing and activation then hold.
            image_weights: a checkpoint for that tower alone, which goes over what `pretrained` gave: the tower's own
                state dict, or a whole model's of which only the tower is read. With `strict=False` what it lacks stays.
            text_weights: the same for the text tower.
            cache_dir: where downloads are kept, instead of the usual folder.
            **overrides: config keys: image_size, context_length, quick_gelu, patch_dropout, custom_text,
                init_logit_scale, init_logit_bias, nonscalar_logit_scale, or nested in vision_cfg, text_cfg,
                multimodal_cfg, preprocess_cfg.

        Raises:
            UnknownModelError, ConflictError: the name leads nowhere, or to two places.
            UnknownWeightsError, FetchError: the weights are not known, or cannot be had.
            OverrideError, ConfigError: an argument or a config does not validate.
            CheckpointError: the file is no checkpoint, unsafe, or another model's.
            PluginError: a plugin failed.
        """
        cache = folder_of("cache_dir", cache_dir)
        resolved = self.services.resolve(name, cache)
        if pretrained is None and str(device) == "meta":  # an empty shell holds no weights, its name's own neither
            pretrained = False
        found = find_weights(self.services.lookup, resolved, pretrained, weights_of)
        towers = tower_files(image=image_weights, text=text_weights)
        settled = settle(resolved.config, found.weights if found else None, overrides, self._claimed)
        resolved = replace(resolved, owner=self.services.lookup.owner(settled.config))  # an override may change it
        self._refuse_offline(resolved, found, cache)
        from registry_core.assembly import Order, assemble  # torch: a wrong name or tag need not wait for it

        order = Order(resolved, settled, found, str(device), precision, tower, strict, mmap, towers).checked()
        fetched = None if found is None else self._fetch(resolved, found.weights, cache)
        notes = findings(self.services.lookup, resolved, found, pretrained)
        model = assemble(self, order, fetched)
        report = self.report(model)
        report.notes += notes
        if found is None and device != "meta" and pretrained is not False:
            _warn_of_random_weights(model, report)
        return model

    def list_models(self, pattern: str = "*") -> list[str]:
        """Model names that match a shell pattern; case does not count."""
        folded = text_of("pattern", pattern).casefold()
        return [name for name in self.services.lookup.names() if fnmatchcase(name.casefold(), folded)]

    def list_pretrained(self, model: str | None = None) -> list[tuple[str, str]]:
        """The (model, tag) pairs there are, of all models or of one.

        Raises:
            UnknownModelError: there is no such model; one without tags has an empty list.
        """
        pairs = self.services.lookup.tags()
        if model is None:
            return pairs
        name = ModelName.parse(model).name
        found = [pair for pair in pairs if pair[0] == name]
        if not found:
            self.services.resolve(model)
        return found

    def config(self, name: str) -> ModelConfig:
        """The validated config of a model.

        Raises:
            UnknownModelError, ConflictError, ConfigError: as for `create`.
        """
        return self.services.resolve(name).config

    def explain(self, name: str, pretrained: PathLike | None = None, **overrides: Any) -> Explanation:
        """Where a model's config and weights come from and who answers; only an `hf-hub:` name's config is fetched.

        Raises:
            RegistryError: what `create` would raise before it fetches.
        """
        from registry_core.explain import explain

        return explain(self.services, name, pretrained, overrides)

    def download(
        self,
        name: str,
        tag: str | None = None,
        cache_dir: PathLike | None = None,
        *,
        to: PathLike | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Bring a tag's file, or without a tag the weights that the name brings itself, into the cache: their path.

        Args:
            name: the model's.
            tag: of the weights.
            cache_dir: where downloads are kept, instead of the usual folder.
            to: a folder to carry to another machine, where it serves as a cache. What is in the cache is copied.
            progress: called with the file's name, the bytes that are here and the bytes in all, or None.

        Raises:
            UnknownModelError, UnknownWeightsError, FetchError: as for `create`.
        """
        cache = folder_of("cache_dir", cache_dir)
        carried = None if to is None else path_of("to", to)
        place = cache if carried is None else carried
        resolved = self.services.resolve(name, place)
        found = find_weights(self.services.lookup, resolved, tag)
        if found is None:
            raise OverrideError(f"download needs a tag of {name}, got {tag!r}.")
        context = FetchContext(cache_folder(place), asked=_asked(resolved, found.weights), progress=progress)
        if carried is not None:
            context = replace(context, elsewhere=(cache_folder(cache),), borrow=False)
        return self.services.fetch(found.weights, context=context).path

    def plugins(self) -> list[Plugin]:
        """Every plugin found, with its distribution, version and error."""
        return list(self.services.host)

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin by hand, beside the installed ones.

        Raises:
            PluginError: it does not fit the contract, or its name is taken.
        """
        return self.services.host.register(plugin, name)

    def add_config(
        self, source: PathLike | Mapping[str, object], name: str | None = None, *, share: bool = False
    ) -> str:
        """Make a model of the user's own config, and return its name. Adding a config again changes nothing.

        Args:
            source: a JSON file, whose stem is the name, or a mapping.
            name: needed with a mapping, overrules the stem of a file.
            share: put the file on REGISTRY_CORE_CONFIG_PATH, so that processes which are started from now on know it.

        Raises:
            TakenNameError: a model of that name is there already; nothing replaces it.
            ConfigError: the config is not readable, nobody's or invalid, or is to be shared and is no file of its name.
        """
        lookup = self.services.lookup
        key, config = read_config(source, name)
        known = lookup.user_configs().get(key)
        if known is None or known.raw != config.raw:
            refuse_taken(key, config, lookup.names(), "Give it another name: add_config(..., name='my-model').")
        self.services.claim(config.raw, config.origin)
        if share:
            share_config(key, source)
        elif known is None:
            lookup.added[key] = config
        return key

    def _claimed(self, raw: RawConfig, origin: str) -> ModelConfig:
        return self.services.claim(raw, origin).config

    def _fetch(self, resolved: Resolved, weights: Weights, cache: Path | None) -> Fetched:
        context = FetchContext(cache_folder(cache), asked=_asked(resolved, weights))
        return self.services.fetch(weights, context=context)

    def _refuse_offline(self, resolved: Resolved, found: FoundWeights | None, cache: Path | None) -> None:
        """Offline, say at once what is not here: a fetch takes no time then, and torch need not be imported for it."""
        if found is not None and Settings.load().offline:
            self._fetch(resolved, found.weights, cache)


def _asked(resolved: Resolved, weights: Weights) -> str:
    return f"{resolved.name} {weights.tag}" if weights.tag else resolved.name


def _warn_of_random_weights(model: nn.Module, report: LoadReport) -> None:
    """Warn if a parameter was written by no file and no owner; of single numbers the config states the value."""
    loaded = set(report.loaded)
    names = [name for name, parameter in model.named_parameters() if parameter.numel() > 1 and name not in loaded]
    left = [name for name in names if not is_left(name, report.left_to_owner)]
    if not left:
        return
    where = f" in {listing(left, 3)}" if report.tower_files else ""
    warnings.warn(
        f"{report.name} was created with random weights{where}, since pretrained= was not given. Give a tag or a path, "
        "or pretrained=False to say that random weights are meant.",
        RandomWeightsWarning,
        stacklevel=3,
    )
