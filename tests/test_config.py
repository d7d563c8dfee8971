from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from registry_core import ConfigError, ModelConfig, Registry
from registry_core.config import merged

RAW = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2},
}


def claim(raw):
    return Registry().services.claim(raw, "a test").config


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"embed_dimm": 3}, r"embed_dimm: unknown key\. Did you mean embed_dim\b"),
            ({"xyzzy": 3}, r"xyzzy: unknown key\. Known keys: .*embed_dim.*vision_cfg"),
            ({"vision_cfg": {"widht": 3}}, r"vision_cfg\.widht: unknown key\. Did you mean width"),
            ({"text_cfg": {"head": 3}}, r"text_cfg\.head: unknown key\. Did you mean heads"),
            ({"vision_cfg": {"norm_kwargs": {"epps": 1.0}}}, r"vision_cfg\.norm_kwargs\.epps: unknown key.*eps"),
            ({"preprocess_cfg": {"meen": [0, 0, 0]}}, r"preprocess_cfg\.meen: unknown key\. Did you mean mean"),
            ({"embed_dim": "16"}, r"embed_dim: .*integer, got '16'"),
            ({"embed_dim": 16.5}, r"embed_dim: .*integer, got 16\.5"),
            ({"embed_dim": True}, r"embed_dim: .*integer, got True"),
            ({"embed_dim": 0}, r"embed_dim: .*greater than 0, got 0"),
            ({"quick_gelu": "yes"}, r"quick_gelu: .*boolean, got 'yes'"),
            ({"quick_gelu": 1}, r"quick_gelu: .*boolean, got 1"),
            ({"vision_cfg": {"image_size": -1}}, r"vision_cfg\.image_size: .*greater than 0, got -1"),
            ({"vision_cfg": {"image_size": [8, 8, 8]}}, r"vision_cfg\.image_size: .*got \(8, 8, 8\)"),
            ({"vision_cfg": {"patch_dropout": 1.0}}, r"vision_cfg\.patch_dropout: .*less than 1, got 1\.0"),
            ({"vision_cfg": {"pool_type": "max"}}, r"vision_cfg\.pool_type: .*'tok', 'avg'.*got 'max'"),
            ({"vision_cfg": 3}, r"vision_cfg: .*got 3"),
            (
                {"preprocess_cfg": {"fill_color": 256}},
                r"preprocess_cfg\.fill_color: .*less than or equal to 255, got 256",
            ),
        ],
    )
    def test_name_the_path_and_what_was_found(self, change, words):
        with pytest.raises(ConfigError, match=words):
            claim(merged(RAW, change))

    @pytest.mark.parametrize("key", ["embed_dim", "vision_cfg", "text_cfg"])
    def test_a_missing_key_is_named(self, key):
        with pytest.raises(ConfigError, match=rf"(?m)^  {key}: missing\.$"):
            claim({name: value for name, value in RAW.items() if name != key})

    def test_all_problems_come_at_once_a_line_each(self):
        with pytest.raises(ConfigError) as caught:
            claim({"embed_dim": "x", "vision_cfg": {"image_size": -1, "depth": 2}, "text_cfg": {}})
        lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
        assert sorted(line.split(":")[0].strip() for line in lines) == [
            "embed_dim",
            "vision_cfg.depth",
            "vision_cfg.image_size",
        ]

    def test_say_whose_config_it_is_and_what_was_done(self):
        with pytest.raises(ConfigError, match=r"(?s)config of a test does not validate.*Nothing was built"):
            claim({**RAW, "embed_dim": 0})

    def test_an_unclaimed_architecture_is_named_with_those_there_are(self):
        with pytest.raises(ConfigError, match=r"architecture is 'openai_clp'\. Did you mean openai_clip.*daclip"):
            claim({**RAW, "architecture": "openai_clp"})


class TestValues:
    def test_json_lists_become_tuples(self):
        raw = merged(RAW, {"vision_cfg": {"image_size": [32, 64]}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}})
        config = claim(json.loads(json.dumps(raw)))
        assert config.vision_cfg.image_size == (32, 64)
        assert config.image_size == (32, 64)
        assert config.preprocess_cfg.mean == (0.1, 0.2, 0.3)

    def test_one_number_is_a_square(self):
        assert claim(RAW).image_size == (32, 32)

    def test_a_preprocessing_size_overrules_the_towers(self):
        assert claim({**RAW, "preprocess_cfg": {"size": 48}}).image_size == (48, 48)

    def test_configs_are_frozen_in_depth(self):
        config = claim(RAW)
        for part, key in ((config, "embed_dim"), (config.vision_cfg, "width"), (config.preprocess_cfg, "mean")):
            with pytest.raises(ValidationError, match="frozen"):
                setattr(part, key, 3)

    def test_raw_is_json_and_of_its_own(self):
        config = claim(RAW)
        raw = config.raw()
        assert json.loads(json.dumps(raw)) == raw
        raw["vision_cfg"]["width"] = 999
        assert config.vision_cfg.width == 32

    def test_the_callers_mapping_is_left_alone(self):
        raw = json.loads(json.dumps(RAW))
        claim(raw)
        assert raw == RAW


def test_a_subclass_names_its_architecture_in_raw(registry):
    assert registry.config("tiny").raw()["architecture"] == "openai_clip"
    assert registry.config("daclip_tiny").raw()["architecture"] == "daclip"
    assert ModelConfig.architecture == ""


keys = st.text(alphabet="abc", min_size=1, max_size=2)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
mappings = st.recursive(
    st.dictionaries(keys, leaves, max_size=3), lambda inner: st.dictionaries(keys, leaves | inner, max_size=3)
)


def flat(mapping, prefix=()):
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from flat(value, (*prefix, key))
        elif not isinstance(value, dict):
            yield (*prefix, key), value


def _emptied(over, path):
    """Whether `over` puts a mapping where `path` has a value, so that the value gives way."""
    for key in path:
        if not isinstance(over, dict) or key not in over:
            return False
        over = over[key]
    return True


# A busy machine is slow at drawing; that says nothing of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class TestMerged:
    @unhurried
    @given(mappings, mappings)
    def test_what_lies_over_holds(self, base, over):
        result = dict(flat(merged(base, over)))
        for path, value in flat(over):
            assert result[path] == value

    @unhurried
    @given(mappings, mappings)
    def test_what_is_not_covered_stays(self, base, over):
        result = dict(flat(merged(base, over)))
        covered = [path for path, _ in flat(over)]
        for path, value in flat(base):
            if not any(path[: len(c)] == c or c[: len(path)] == path for c in covered) and not _emptied(over, path):
                assert result[path] == value

    @unhurried
    @given(mappings)
    def test_nothing_over_or_below_changes_nothing(self, mapping):
        assert merged(mapping, {}) == mapping
        assert merged({}, mapping) == mapping
        assert merged(mapping, mapping) == mapping

    @unhurried
    @given(mappings, mappings)
    def test_twice_is_once_and_arguments_are_left_alone(self, base, over):
        before = json.dumps([base, over])
        once = merged(base, over)
        assert merged(once, over) == once
        assert json.dumps([base, over]) == before
