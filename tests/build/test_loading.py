"""The steps after a file is read: what its conversion leaves to the owner must be written by post_load."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from registry_core import Conversion, ModelConfig, PluginError, StateDictError, hookimpl


class LeavingConfig(ModelConfig):
    architecture = "leaving"


class Leaving(nn.Module):
    def __init__(self):
        super().__init__()
        self.held = nn.Linear(3, 3)
        self.left = nn.Linear(3, 3)
        self.alone = nn.Parameter(torch.zeros(2))


def leaving(finish, left=("left", "alone")):
    """Return a plugin whose checkpoints lack some parameters, and whose post_load is `finish`."""

    class Plugin:
        @hookimpl
        def resolve_config(self, name, raw):
            if raw is not None:
                mine = raw.get("architecture") == "leaving"
                return LeavingConfig.parse(raw, name) if mine else None
            return LeavingConfig(embed_dim=4, vision_cfg={}, text_cfg={}) if name == "leaver" else None

        @hookimpl
        def build_model(self):
            return Leaving()

        @hookimpl
        def convert_state_dict(self, state):
            return Conversion(state, left, "half a model")

        @hookimpl
        def post_load(self, model):
            return finish(model) if isinstance(model, Leaving) else None

    return Plugin()


class TestParametersLeftToTheOwner:
    @pytest.fixture
    def create(self, registry, tmp_path):
        def create(finish, **options):
            registry.register(leaving(finish, **options), "leaving")
            torch.save(nn.Sequential(nn.Linear(3, 3)).state_dict(prefix="x."), tmp_path / "x")
            state = {"held.weight": torch.ones(3, 3), "held.bias": torch.ones(3)}
            torch.save(state, tmp_path / "leaver.pt")
            return registry.create("leaver", tmp_path / "leaver.pt")

        return create

    def test_are_written_by_the_owner_and_reported(self, registry, create):
        def finish(model):
            nn.init.ones_(model.left.weight)
            with torch.no_grad():
                model.left.bias.copy_(torch.arange(3.0))
                model.alone.zero_()

        model = create(finish)
        assert (model.left.weight == 1).all()
        report = registry.report(model)
        assert report.left_to_owner == ["left", "alone"]
        assert (report.missing, report.kind, report.post_load[0]) == ([], "half a model", "leaving")
        assert "left, alone" in str(report)

    def test_left_unwritten_are_an_error_of_the_plugin(self, create):
        with pytest.raises(
            PluginError,
            match=r"Plugin leaving \(.*\) left 3 parameters of leaver unwritten: alone, left\.weight, "
            r"left\.bias\. Its conversion stated that its post_load writes them\. Nothing was returned, because "
            r"unwritten memory holds garbage\. Write them in place under torch\.no_grad\(\)",
        ) as caught:
            create(lambda _: None)
        assert (caught.value.plugin, caught.value.hook, caught.value.name) == ("leaving", "post_load", "leaver")

    def test_written_in_part_are_an_error_that_names_the_rest(self, create):
        def finish(model):
            nn.init.zeros_(model.left.weight)
            nn.init.zeros_(model.alone)

        with pytest.raises(PluginError) as caught:
            create(finish)
        assert caught.value.found == ["left.bias"]

    def test_may_be_replaced_by_other_parameters(self, create):
        def finish(model):
            model.left = nn.Linear(3, 3)
            model.alone = nn.Parameter(torch.ones(2))

        assert (create(finish).alone == 1).all()

    def test_may_be_given_other_memory(self, create):
        def finish(model):
            for parameter in (*model.left.parameters(), model.alone):
                parameter.data = torch.full_like(parameter, 4)

        assert (create(finish).left.bias == 4).all()

    def test_may_be_removed(self, create):
        def finish(model):
            del model.left
            nn.init.zeros_(model.alone)

        assert not hasattr(create(finish), "left")

    def test_that_the_conversion_does_not_declare_are_missing(self, create):
        with pytest.raises(StateDictError) as caught:
            create(lambda _: None, left=())
        assert caught.value.missing == ["alone", "left.weight", "left.bias"]
