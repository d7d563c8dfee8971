"""What a plugin with an architecture keeps: it builds, computes, saves, loads and refuses as every other one does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from registry_core import BuildError, ConfigError, ModelConfig, OverrideError, RawConfig, Registry, StateDictError
from registry_core.plugins import Plugin
from registry_core.testing.loading import created, differing, filled_with_nan, unwritten, write_state
from registry_core.testing.plugin_contract import PluginContract, leads_back, own_derived, own_models

NAME = "contract-small"


class ArchitectureContract(PluginContract):
    """The tests of a plugin that brings an architecture; those of PluginContract are among them.

    Attributes:
        small: a raw config of the architecture, small enough to be built in no time.
        towers: what `tower=` can be; () for a model that cannot be taken apart.
        most_on_meta: how many of its listed models are built on the meta device.
    """

    small: ClassVar[RawConfig]
    towers: ClassVar[tuple[str, ...]] = ("image", "text")
    most_on_meta: ClassVar[int] = 12

    # What a model with other inputs overrides.

    def pictures(self, config: ModelConfig) -> Any:
        """Pictures [2, 3, height, width]."""
        import torch

        return torch.randn(2, 3, *config.image_size, generator=torch.Generator().manual_seed(1))

    def texts(self, config: ModelConfig) -> Any:
        """Token ids [2, L], the largest last, as an end-of-text token is."""
        import torch

        text = config.text_cfg
        ids = torch.randint(
            1, text.vocab_size - 1, (2, text.context_length), generator=torch.Generator().manual_seed(2)
        )
        ids[:, -1] = text.vocab_size - 1
        return ids

    def encode_image(self, model: Any, pictures: Any) -> Any:
        """Features [N, E]."""
        return model.encode_image(pictures)

    def encode_text(self, model: Any, texts: Any) -> Any:
        """Features [N, E]."""
        return model.encode_text(texts)

    def forward(self, model: Any, pictures: Any, texts: Any) -> Any:
        """Whatever the model's forward gives for both."""
        return model(pictures, texts)

    def outputs(self, model: Any, pictures: Any, texts: Any) -> Mapping[str, Any]:
        """The model's outputs for both, under the names that its loss takes them by.

        By default the dict that its forward gives, where need be once `output_dict` says so.
        """
        if hasattr(model, "output_dict"):
            model.output_dict = True
        found: Mapping[str, Any] = self.forward(model, pictures, texts)
        return found

    # Fixtures.

    @pytest.fixture
    def raw(self) -> dict[str, Any]:
        """The small config, with the architecture that claims it."""
        return {"architecture": self.plugin, **self.small}

    @pytest.fixture
    def registry(self, raw: dict[str, Any]) -> Registry:
        """A fresh registry of everything that is installed, with the small model."""
        registry = Registry()
        registry.add_config(raw, NAME)
        return registry

    @pytest.fixture
    def model(self, registry: Registry) -> Any:
        """The small model with random values."""
        return created(registry, NAME)

    @pytest.fixture
    def checkpoint(self, model: Any, tmp_path: Path) -> Path:
        """The model's state dict."""
        return write_state(model.state_dict(), tmp_path / "checkpoint.pt")

    # Configs.

    def test_the_small_config_is_its_own_and_leads_back_to_itself(self, registry: Registry) -> None:
        resolved = registry.services.resolve(NAME)
        assert (resolved.owner.name, type(resolved.config).architecture) == (self.plugin, self.plugin)
        assert leads_back(registry, resolved.config)

    @pytest.mark.parametrize("place", [(), ("vision_cfg",), ("text_cfg",)], ids=["top", "vision_cfg", "text_cfg"])
    def test_refuses_unknown_config_keys(self, registry: Registry, raw: dict[str, Any], place: tuple[str, ...]) -> None:
        bad = copy.deepcopy(raw)
        inner = bad
        for key in place:
            inner = inner[key]
        inner["surely_no_such_key"] = 1
        with pytest.raises(ConfigError, match="surely_no_such_key"):
            registry.services.claim(bad, "a test")

    def test_refuses_a_value_of_the_wrong_type(self, registry: Registry, raw: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="embed_dim"):
            registry.services.claim({**raw, "embed_dim": "wide"}, "a test")

    # Building.

    def test_its_models_build_on_the_meta_device(self, registry: Registry, record: Plugin) -> None:
        names = [*own_models(registry, record), *own_derived(registry, record)]
        for name in names[:: max(1, -(-len(names) // self.most_on_meta))]:
            shells = {
                tower: registry.create(f"{self.plugin}::{name}", device="meta", tower=tower)
                for tower in (None, *self.towers)
            }
            whole = {key: tensor.shape for key, tensor in shells[None].state_dict().items()}
            for tower, shell in shells.items():
                assert {parameter.device.type for parameter in shell.parameters()} == {"meta"}, name
                assert {key: tensor.shape for key, tensor in shell.state_dict().items()}.items() <= whole.items(), tower

    def test_writes_every_value_of_a_random_model(self, registry: Registry) -> None:
        with filled_with_nan():
            model = created(registry, NAME)
        assert unwritten(model) == [], "these parameters are not initialised by the module that makes them"

    def test_random_values_follow_the_seed(self, registry: Registry) -> None:
        assert differing(created(registry, NAME), created(registry, NAME)) == []

    def test_comes_in_evaluation_mode_on_the_cpu(self, model: Any) -> None:
        assert not model.training
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}

    # Computing.

    def test_encodes_pictures(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        features = self.encode_image(model, self.pictures(config))
        assert tuple(features.shape) == (2, config.embed_dim)
        assert bool(features.isfinite().all())

    def test_encodes_texts(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        features = self.encode_text(model, self.texts(config))
        assert tuple(features.shape) == (2, config.embed_dim)
        assert bool(features.isfinite().all())

    def test_forward_takes_both(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        assert self.forward(model, self.pictures(config), self.texts(config)) is not None

    def test_can_be_trained(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        model.train()
        loss = (self.encode_image(model, self.pictures(config)) * self.encode_text(model, self.texts(config))).sum()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)

    def test_its_loss_takes_its_outputs_and_reaches_its_parameters(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        outputs = self.outputs(model.train(), self.pictures(config), self.texts(config))
        assert isinstance(outputs, Mapping), "override `outputs` where forward gives no dict"
        losses = registry.loss(model)(**outputs, output_dict=True)
        assert losses
        total = sum(losses.values())
        assert bool(total.isfinite())
        total.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert any(bool(gradient.any()) for gradient in gradients), "the loss reaches no parameter"
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)

    def test_its_loss_is_had_by_name_and_refuses_what_it_does_not_know(self, registry: Registry, model: Any) -> None:
        assert type(registry.loss(NAME)) is type(registry.loss(model))
        with pytest.raises(OverrideError, match="surely_no_such_argument"):
            registry.loss(NAME, surely_no_such_argument=1)

    def test_a_copy_is_the_same_model(self, registry: Registry, model: Any) -> None:
        twin = copy.deepcopy(model)
        assert differing(model, twin) == []
        assert registry.report(twin).name == NAME

    # Saving and loading.

    def test_loads_its_own_state_dict_bit_by_bit(self, registry: Registry, model: Any, checkpoint: Path) -> None:
        loaded = registry.create(NAME, checkpoint)
        assert differing(model, loaded) == []
        report = registry.report(loaded)
        assert (report.missing, report.unexpected, report.misshaped, report.adapted) == ([], [], {}, {})
        self._assert_same_features(registry, model, loaded)

    def test_a_saved_folder_reads_back_bit_by_bit(self, registry: Registry, model: Any, tmp_path: Path) -> None:
        folder = registry.save(model, tmp_path / "saved")
        registry.add_config(folder / "open_clip_config.json", "contract-saved")
        loaded = registry.create("contract-saved", folder / "open_clip_model.safetensors")
        assert differing(model, loaded) == []
        self._assert_same_features(registry, model, loaded)

    def test_refuses_a_checkpoint_with_an_unknown_key(self, registry: Registry, model: Any, tmp_path: Path) -> None:
        state = model.state_dict()
        state["surely.no.such.parameter"] = next(iter(state.values())).clone()
        with pytest.raises(StateDictError, match=r"surely\.no\.such\.parameter"):
            registry.create(NAME, write_state(state, tmp_path / "unknown.pt"))

    def test_refuses_a_checkpoint_that_lacks_what_it_cannot_do_without(
        self, registry: Registry, model: Any, tmp_path: Path
    ) -> None:
        state = model.state_dict()
        name = self.needed(state)
        shared = state[name].data_ptr()
        rest = {key: tensor for key, tensor in state.items() if tensor.data_ptr() != shared}
        with pytest.raises(StateDictError, match="missing from the file"):
            registry.create(NAME, write_state(rest, tmp_path / "missing.pt"))

    def needed(self, state: Mapping[str, Any]) -> str:
        """A parameter that no checkpoint of the architecture may lack: by default the first of the text side."""
        return next(name for name in state if name.endswith("token_embedding.weight"))

    # One tower.

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_one_tower_is_the_whole_models(self, registry: Registry, model: Any, checkpoint: Path, tower: str) -> None:
        self._skip_without(tower)
        part = registry.create(NAME, checkpoint, tower=tower)
        assert type(part) is type(model)
        assert part.state_dict().keys() < model.state_dict().keys()
        config = registry.report(part).config
        encode, inputs = (
            (self.encode_image, self.pictures(config)) if tower == "image" else (self.encode_text, self.texts(config))
        )
        assert bool((encode(part, inputs) == encode(model, inputs)).all())

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_the_absent_tower_says_so(self, registry: Registry, tower: str) -> None:
        self._skip_without(tower)
        part = registry.create(NAME, pretrained=False, tower=tower)
        config = registry.report(part).config
        encode, inputs = (
            (self.encode_text, self.texts(config)) if tower == "image" else (self.encode_image, self.pictures(config))
        )
        with pytest.raises(BuildError, match="tower="):
            encode(part, inputs)

    def _skip_without(self, tower: str) -> None:
        if tower not in self.towers:
            pytest.skip(f"{self.plugin} has no tower {tower!r} to be had by itself")

    def _assert_same_features(self, registry: Registry, one: Any, other: Any) -> None:
        config = registry.report(other).config
        for encode, inputs in ((self.encode_image, self.pictures(config)), (self.encode_text, self.texts(config))):
            assert bool((encode(one, inputs) == encode(other, inputs)).all())
