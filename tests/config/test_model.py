from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from registry_core import ConfigError, ModelConfig, Registry
from registry_core.config.model import merged

RAW = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 2, "width": 32, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 2, "width": 32, "heads": 2},
}


def claim(raw):
    return Registry().services.claim(raw, "a test").config


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "key", "problem"),
        [
            ({"vision_cfg": {"norm_kwargs": {"epps": 1.0}}}, "vision_cfg.norm_kwargs.epps", r"unknown key.*eps"),
            ({"embed_dim": "16"}, "embed_dim", r".*integer, got '16'"),
            ({"embed_dim": 16.5}, "embed_dim", r".*integer, got 16\.5"),
            ({"embed_dim": True}, "embed_dim", r".*integer, got True"),
            ({"embed_dim": 0}, "embed_dim", r".*greater than 0, got 0"),
            ({"quick_gelu": "yes"}, "quick_gelu", r".*boolean, got 'yes'"),
            ({"quick_gelu": 1}, "quick_gelu", r".*boolean, got 1"),
            ({"vision_cfg": {"image_size": -1}}, "vision_cfg.image_size", r".*greater than 0, got -1"),
            ({"vision_cfg": {"image_size": [8, 8, 8]}}, "vision_cfg.image_size", r".*got \(8, 8, 8\)"),
            ({"vision_cfg": {"patch_dropout": 1.0}}, "vision_cfg.patch_dropout", r".*less than 1, got 1\.0"),
            ({"vision_cfg": {"pool_type": "max"}}, "vision_cfg.pool_type", r".*'tok', 'avg'.*got 'max'"),
            ({"vision_cfg": 3}, "vision_cfg", r".*got 3"),
            ({"preprocess_cfg": {"fill_color": 256}}, "preprocess_cfg.fill_color", r".*or equal to 255, got 256"),
        ],
    )
    def test_name_the_key_and_the_value(self, change, key, problem):
        with pytest.raises(ConfigError) as caught:
            claim(merged(RAW, change))
        assert list(caught.value.problems) == [key]
        assert re.match(problem, caught.value.problems[key])

    @pytest.mark.parametrize(
        ("change", "key", "suggestion"),
        [
            ({"embed_dimm": 3}, "embed_dimm", "embed_dim"),
            ({"vision_cfg": {"widht": 3}}, "vision_cfg.widht", "width"),
            ({"text_cfg": {"head": 3}}, "text_cfg.head", "heads"),
            ({"preprocess_cfg": {"meen": [0, 0, 0]}}, "preprocess_cfg.meen", "mean"),
        ],
    )
    def test_suggest_keys_that_resemble_an_unknown_one(self, change, key, suggestion):
        with pytest.raises(ConfigError) as caught:
            claim(merged(RAW, change))
        assert caught.value.suggestions[0] == suggestion
        assert caught.value.problems[key].startswith(f"unknown key. Did you mean {suggestion}")

    def test_list_the_known_keys_if_no_key_resembles_the_unknown_one(self):
        with pytest.raises(ConfigError) as caught:
            claim({**RAW, "xyzzy": 3})
        assert caught.value.suggestions == []
        assert re.match(r"unknown key\. Known keys: .*embed_dim.*vision_cfg", caught.value.problems["xyzzy"])

    @pytest.mark.parametrize("key", ["embed_dim", "vision_cfg", "text_cfg"])
    def test_name_a_missing_key(self, key):
        with pytest.raises(ConfigError) as caught:
            claim({name: value for name, value in RAW.items() if name != key})
        assert caught.value.problems == {key: "missing."}

    def test_list_all_problems(self):
        with pytest.raises(ConfigError) as caught:
            claim({"embed_dim": "x", "vision_cfg": {"image_size": -1, "depth": 2}, "text_cfg": {}})
        assert sorted(caught.value.problems) == ["embed_dim", "vision_cfg.depth", "vision_cfg.image_size"]

    def test_the_message_names_the_origin_and_has_a_line_for_each_problem(self):
        raw = {key: value for key, value in RAW.items() if key != "text_cfg"}
        with pytest.raises(ConfigError) as caught:
            claim({**raw, "embed_dim": 0})
        assert caught.value.name == "a test"
        assert str(caught.value) == (
            "The config of a test does not validate:\n"
            f"  embed_dim: {caught.value.problems['embed_dim']}\n"
            "  text_cfg: missing.\n"
            "Nothing was built. Correct the keys named above."
        )

    def test_a_key_of_several_types_has_one_line(self):
        with pytest.raises(ConfigError) as caught:
            claim(merged(RAW, {"vision_cfg": {"image_size": "big"}}))
        assert " Or: " in caught.value.problems["vision_cfg.image_size"]

    def test_an_unclaimed_architecture_is_named_with_the_known_ones(self):
        with pytest.raises(ConfigError) as caught:
            claim({**RAW, "architecture": "openai_clp"})
        assert caught.value.found == "openai_clp"
        assert caught.value.suggestions[0] == "openai_clip"
        assert "daclip" in caught.value.expected


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

    def test_configs_and_their_parts_are_immutable(self):
        config = claim(RAW)
        for part, key in ((config, "embed_dim"), (config.vision_cfg, "width"), (config.preprocess_cfg, "mean")):
            with pytest.raises(ValidationError, match="frozen"):
                setattr(part, key, 3)

    def test_raw_is_json_and_a_copy(self):
        config = claim(RAW)
        raw = config.raw()
        assert json.loads(json.dumps(raw)) == raw
        raw["vision_cfg"]["width"] = 999
        assert config.vision_cfg.width == 32

    def test_the_callers_mapping_is_not_changed(self):
        raw = json.loads(json.dumps(RAW))
        claim(raw)
        assert raw == RAW


def test_a_subclass_names_its_architecture_in_raw(registry):
    assert registry.config("tiny").raw()["architecture"] == "openai_clip"
    assert registry.config("tiny").to_dict() == registry.config("tiny").raw()
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
    """Whether `over` has a mapping where `path` has a value, so that the mapping replaces the value."""
    for key in path:
        if not isinstance(over, dict) or key not in over:
            return False
        over = over[key]
    return True


# A busy machine draws examples slowly, which is not a fault of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class TestMerged:
    @unhurried
    @given(mappings, mappings)
    def test_values_of_the_second_mapping_win(self, base, over):
        result = dict(flat(merged(base, over)))
        for path, value in flat(over):
            assert result[path] == value

    @unhurried
    @given(mappings, mappings)
    def test_other_values_of_the_first_mapping_stay(self, base, over):
        result = dict(flat(merged(base, over)))
        covered = [path for path, _ in flat(over)]
        for path, value in flat(base):
            if not any(path[: len(c)] == c or c[: len(path)] == path for c in covered) and not _emptied(over, path):
                assert result[path] == value

    @unhurried
    @given(mappings)
    def test_an_empty_or_equal_mapping_changes_nothing(self, mapping):
        assert merged(mapping, {}) == mapping
        assert merged({}, mapping) == mapping
        assert merged(mapping, mapping) == mapping

    @unhurried
    @given(mappings, mappings)
    def test_merging_twice_is_merging_once_and_arguments_are_not_changed(self, base, over):
        before = json.dumps([base, over])
        once = merged(base, over)
        assert merged(once, over) == once
        assert json.dumps([base, over]) == before
