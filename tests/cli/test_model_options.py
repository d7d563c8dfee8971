"""The options that say which model to create, and how."""

from __future__ import annotations

import argparse

import pytest

from registry_core import OverrideError
from registry_core.cli.model_options import add_model_options, create_arguments, overrides_from


@pytest.fixture
def options():
    """options("tiny", "--random") -> the parsed options of a command that creates a model."""
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    return lambda *arguments: parser.parse_args(["tiny", *arguments])


class TestOverrides:
    def test_values_are_json_or_else_strings(self):
        given = ["image_size=336", "quick_gelu=true", 'vision_cfg={"layers": 6}', "custom_text=no"]
        assert overrides_from(given) == {
            "image_size": 336,
            "quick_gelu": True,
            "vision_cfg": {"layers": 6},
            "custom_text": "no",
        }

    def test_a_value_may_contain_an_equals_sign(self):
        assert overrides_from(["text_cfg=a=b"]) == {"text_cfg": "a=b"}

    def test_a_setting_without_a_value_is_refused(self):
        with pytest.raises(OverrideError, match=r"^--set image_size: expected KEY=VALUE, such as") as caught:
            overrides_from(["image_size"])
        assert (caught.value.argument, caught.value.found) == ("--set", "image_size")

    def test_an_unknown_key_is_refused(self):
        with pytest.raises(OverrideError, match=r"unknown key\. Did you mean image_size\? Keys are image_size, ") as e:
            overrides_from(["image_sise=3"])
        assert (e.value.argument, e.value.name) == ("--set", "image_sise")
        assert e.value.suggestions[0] == "image_size"
        assert "vision_cfg" in e.value.expected

    @pytest.mark.parametrize("setting", ["name=x", "device=cpu"])
    def test_arguments_of_create_are_not_overrides(self, setting):
        with pytest.raises(OverrideError) as caught:
            overrides_from([setting])
        assert caught.value.name == setting.partition("=")[0]


class TestCreateArguments:
    def test_options_and_overrides_become_arguments_of_create(self, options):
        found = create_arguments(options("--pretrained", "openai", "--mmap", "--set", "image_size=336"))
        assert found["pretrained"] == "openai"
        assert found["mmap"] is True
        assert found["image_size"] == 336

    def test_without_weights_create_decides(self, options):
        assert create_arguments(options())["pretrained"] is None

    def test_random_weights_are_asked_for(self, options):
        assert create_arguments(options("--random"))["pretrained"] is False

    def test_random_weights_and_a_tag_exclude_each_other(self, options):
        with pytest.raises(OverrideError, match=r"^--random and --pretrained exclude each other\.") as caught:
            create_arguments(options("--random", "--pretrained", "x.pt"))
        assert (caught.value.argument, caught.value.found) == ("--random", "x.pt")
