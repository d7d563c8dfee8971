"""AugmentationConfig: unknown keys, wrong values and keys without effect are errors."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core import OverrideError
from registry_core.preprocess.augmentation import AugmentationConfig, augmentation_config


def test_the_default_is_a_crop_and_nothing_else():
    assert augmentation_config(None) == AugmentationConfig()
    assert AugmentationConfig().model_dump(exclude_none=True) == {"scale": (0.9, 1.0), "use_timm": False}


def test_a_config_is_used_unchanged():
    config = AugmentationConfig(gray_scale_prob=0.2)
    assert augmentation_config(config) is config
    assert pickle.loads(pickle.dumps(config)) == config


def test_json_lists_become_tuples():
    config = augmentation_config({"scale": [0.4, 1.0], "color_jitter": [0.3, 0.3, 0.3, 0.1], "color_jitter_prob": 0.8})
    assert config.scale == (0.4, 1.0)
    assert config.color_jitter == (0.3, 0.3, 0.3, 0.1)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"scal": (0.4, 1.0)}, r"scal: unknown key\. Did you mean scale\?"),
        ({"hflip": 0.5}, r"hflip: unknown key"),
        ({"scale": 0.5}, r"scale: .*got 0\.5"),
        ({"scale": (0.0, 1.0)}, r"scale: .*greater than 0"),
        ({"scale": (0.5, 1.5)}, r"scale: .*less than or equal to 1"),
        ({"scale": (1.0, 0.4)}, r"scale is \(smallest, largest\), got \(1\.0, 0\.4\)"),
        ({"ratio": (2.0, 0.5), "use_timm": True}, r"ratio is \(smallest, largest\)"),
        ({"gray_scale_prob": 1.5}, r"gray_scale_prob: .*less than or equal to 1"),
        ({"gray_scale_prob": "0.2"}, r"gray_scale_prob: .*valid number, got '0\.2'"),
        ({"re_prob": 0.5}, r"re_prob would have no effect with use_timm=False"),
        ({"ratio": (0.5, 2.0), "re_count": 2}, r"ratio, re_count would have no effect"),
        ({"use_timm": True, "gray_scale_prob": 0.2}, r"gray_scale_prob would have no effect with use_timm=True"),
        ({"color_jitter": 0.4}, r"color_jitter would have no effect: it needs color_jitter_prob, or use_timm=True"),
        ({"color_jitter_prob": 0.8}, r"color_jitter_prob needs color_jitter=\(brightness, .*got color_jitter=None"),
        ({"color_jitter": (0.3, 0.3, 0.3), "color_jitter_prob": 0.8}, r"color_jitter_prob needs color_jitter=\("),
        (
            {"color_jitter": (0.3, 0.3, 0.3, 0.9), "color_jitter_prob": 0.8},
            r"color_jitter: .*less than or equal to 0\.5, got 0\.9",
        ),
        ({"color_jitter": -0.4, "use_timm": True}, r"color_jitter: .*greater than or equal to 0"),
    ],
)
def test_a_mistake_is_named(keys, words):
    with pytest.raises(OverrideError, match=words) as caught:
        augmentation_config(keys)
    assert caught.value.argument == "augmentation"
    assert caught.value.problems


@pytest.mark.parametrize("given", [0.5, "strong", [("scale", (0.4, 1.0))], True])
def test_a_value_that_is_not_a_mapping(given):
    with pytest.raises(OverrideError, match=r"augmentation=.*: expected an AugmentationConfig or a mapping") as caught:
        augmentation_config(given)
    assert (caught.value.argument, caught.value.found) == ("augmentation", given)


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.floats() | st.text(max_size=3), max_size=4))
def test_any_mapping_gives_a_config_or_an_override_error(keys):
    try:
        made = augmentation_config(keys)
    except OverrideError:
        return
    assert isinstance(made, AugmentationConfig)
