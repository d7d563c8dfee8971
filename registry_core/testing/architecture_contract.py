"""The contract for plugins with an architecture: building, computing, saving, loading, and refusing wrong input."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from registry_core import BuildError, ConfigError, ModelConfig, OverrideError, RawConfig, Registry, StateDictError
from registry_core.hooks.plugin import Plugin
from registry_core.testing.loading import created, differing, filled_with_nan, unwritten, write_state
from registry_core.testing.plugin_contract import PluginContract, own_derived, own_models, round_trips

NAME = "contract-small"


class ArchitectureContract(PluginContract):
    """The tests for a plugin that provides an architecture. They include those of PluginContract.

    Attributes:
        small: A raw config of the architecture that builds quickly.
        towers: The towers that `tower=` accepts; () for a model whose towers cannot be built separately.
        most_on_meta: How many of the listed models are built on the meta device, at most.
    """

    small: ClassVar[RawConfig]
    towers: ClassVar[tuple[str, ...]] = ("image", "text")
    most_on_meta: ClassVar[int] = 12

    # A model with other inputs overrides these methods.

    def images(self, config: ModelConfig) -> Any:
        """Return images [2, 3, height, width]."""
        return self.pictures(config)

    def pictures(self, config: ModelConfig) -> Any:
        """Return images [2, 3, height, width]. The former name of `images`; overriding it still works."""
        import torch

        return torch.randn(2, 3, *config.image_size, generator=torch.Generator().manual_seed(1))

    def texts(self, config: ModelConfig) -> Any:
        """Return token ids [2, L]. The last id is the largest, like an end-of-text token."""
        import torch

        text = config.text_cfg
        ids = torch.randint(
            1, text.vocab_size - 1, (2, text.context_length), generator=torch.Generator().manual_seed(2)
        )
        ids[:, -1] = text.vocab_size - 1
        return ids

    def encode_image(self, model: Any, images: Any) -> Any:
        """Return image features [N, E]."""
        return model.encode_image(images)

    def encode_text(self, model: Any, texts: Any) -> Any:
        """Return text features [N, E]."""
        return model.encode_text(texts)

    def forward(self, model: Any, images: Any, texts: Any) -> Any:
        """Return the output of the model's forward for images and texts."""
        return model(images, texts)

    def outputs(self, model: Any, images: Any, texts: Any) -> Mapping[str, Any]:
        """Return the outputs of the model for images and texts, by the names of its loss's arguments.

        By default, this is the dict that forward returns. If the model has an attribute `output_dict`, it is set first.
        """
        if hasattr(model, "output_dict"):
            model.output_dict = True
        outputs: Mapping[str, Any] = self.forward(model, images, texts)
        return outputs

    # Fixtures.

    @pytest.fixture
    def raw(self) -> dict[str, Any]:
        """The small config, with the key `architecture`."""
        return {"architecture": self.plugin, **self.small}

    @pytest.fixture
    def registry(self, raw: dict[str, Any]) -> Registry:
        """A new registry of all installed plugins, with the small model added."""
        registry = Registry()
        registry.add_config(raw, NAME)
        return registry

    @pytest.fixture
    def model(self, registry: Registry) -> Any:
        """The small model with random parameters."""
        return created(registry, NAME)

    @pytest.fixture
    def checkpoint(self, model: Any, tmp_path: Path) -> Path:
        """A file with the state dict of the model."""
        return write_state(model.state_dict(), tmp_path / "checkpoint.pt")

    # Configs.

    def test_the_small_config_is_its_own_and_leads_back_to_itself(self, registry: Registry) -> None:
        resolved = registry.services.resolve(NAME)
        assert (resolved.owner.name, type(resolved.config).architecture) == (self.plugin, self.plugin)
        assert round_trips(registry, resolved.config)

    @pytest.mark.parametrize("keys", [(), ("vision_cfg",), ("text_cfg",)], ids=["top", "vision_cfg", "text_cfg"])
    def test_refuses_unknown_config_keys(self, registry: Registry, raw: dict[str, Any], keys: tuple[str, ...]) -> None:
        bad = copy.deepcopy(raw)
        section = bad
        for key in keys:
            section = section[key]
        section["surely_no_such_key"] = 1
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
        assert unwritten(model) == [], "the module that creates these parameters does not initialise them"

    def test_random_values_follow_the_seed(self, registry: Registry) -> None:
        assert differing(created(registry, NAME), created(registry, NAME)) == []

    def test_comes_in_evaluation_mode_on_the_cpu(self, model: Any) -> None:
        assert not model.training
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}

    # Computing.

    def test_encodes_images(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        features = self.encode_image(model, self.images(config))
        assert tuple(features.shape) == (2, config.embed_dim)
        assert bool(features.isfinite().all())

    def test_encodes_texts(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        features = self.encode_text(model, self.texts(config))
        assert tuple(features.shape) == (2, config.embed_dim)
        assert bool(features.isfinite().all())

    def test_forward_takes_both(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        assert self.forward(model, self.images(config), self.texts(config)) is not None

    def test_can_be_trained(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        model.train()
        loss = (self.encode_image(model, self.images(config)) * self.encode_text(model, self.texts(config))).sum()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)

    def test_its_loss_takes_its_outputs_and_reaches_its_parameters(self, registry: Registry, model: Any) -> None:
        config = registry.report(model).config
        outputs = self.outputs(model.train(), self.images(config), self.texts(config))
        assert isinstance(outputs, Mapping), "forward does not return a dict; override `outputs`"
        losses = registry.loss(model)(**outputs, output_dict=True)
        assert losses
        total = sum(losses.values())
        assert bool(total.isfinite())
        total.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert any(bool(gradient.any()) for gradient in gradients), "no parameter gets a gradient from the loss"
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
        with pytest.raises(StateDictError) as caught:
            registry.create(NAME, write_state(rest, tmp_path / "missing.pt"))
        assert caught.value.missing

    def needed(self, state: Mapping[str, Any]) -> str:
        """Return the name of a parameter that every checkpoint of the architecture has; by default, token embedding."""
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
            (self.encode_image, self.images(config)) if tower == "image" else (self.encode_text, self.texts(config))
        )
        assert bool((encode(part, inputs) == encode(model, inputs)).all())

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_the_absent_tower_says_so(self, registry: Registry, tower: str) -> None:
        self._skip_without(tower)
        part = registry.create(NAME, pretrained=False, tower=tower)
        config = registry.report(part).config
        encode, inputs = (
            (self.encode_text, self.texts(config)) if tower == "image" else (self.encode_image, self.images(config))
        )
        with pytest.raises(BuildError, match="tower="):
            encode(part, inputs)

    def _skip_without(self, tower: str) -> None:
        if tower not in self.towers:
            pytest.skip(f"{self.plugin} cannot build the {tower} tower separately")

    def _assert_same_features(self, registry: Registry, one: Any, other: Any) -> None:
        config = registry.report(other).config
        for encode, inputs in ((self.encode_image, self.images(config)), (self.encode_text, self.texts(config))):
            assert bool((encode(one, inputs) == encode(other, inputs)).all())
