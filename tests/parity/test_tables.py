"""Every native model and tag that open_clip has, with the same facts."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
import torch
from registry_plugins.openai_clip import plugin

from registry_core import HubFile, Url
from registry_core.config.tables import HUB_FILENAMES

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.parity

from open_clip import pretrained as table  # noqa: E402 - only where it is installed
from open_clip.constants import HF_WEIGHTS_NAME  # noqa: E402


def is_native(name):
    cfg = open_clip.get_model_config(name)
    special = cfg.get("custom_text") or "multimodal_cfg" in cfg
    return not (special or "timm_model_name" in cfg["vision_cfg"] or "hf_model_name" in cfg["text_cfg"])


NAMES = sorted(filter(is_native, open_clip.list_models()))
TAGS = sorted((model, tag) for model, tag in open_clip.list_pretrained() if model in NAMES)
PREPROCESS = ("mean", "std", "interpolation", "resize_mode", "fill_color", "size")


def test_the_names():
    ours = plugin.list_models()
    assert sorted(name for name, raw in ours.items() if "timm_model_name" not in raw["vision_cfg"]) == NAMES
    assert len(NAMES) == 55


@pytest.mark.parametrize("name", NAMES)
def test_a_models_names_order_shapes_and_dtypes(registry, name):
    with torch.device("meta"):
        reference = open_clip.CLIP(**open_clip.get_model_config(name))
    model = registry.create(name, device="meta")
    described = [
        [(key, tuple(t.shape), t.dtype) for key, t in each.state_dict().items()] for each in (model, reference)
    ]
    assert described[0] == described[1]
    parameters = [[(key, p.requires_grad) for key, p in each.named_parameters()] for each in (model, reference)]
    assert parameters[0] == parameters[1]
    assert model.no_weight_decay() == reference.no_weight_decay()
    assert (model.context_length, model.vocab_size) == (reference.context_length, reference.vocab_size)


@pytest.mark.parametrize("name", NAMES)
def test_a_models_tokenizer_options(registry, name):
    theirs, ours = open_clip.get_model_config(name)["text_cfg"], registry.config(name).text_cfg
    for key in ("hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs", "eos_id", "pad_id"):
        default = type(ours).model_fields[key].default
        assert getattr(ours, key) == theirs.get(key, default), key


def test_the_tags():
    assert sorted(pair for pair in plugin.list_pretrained() if pair[0] in NAMES) == TAGS
    assert len(TAGS) == 108


@pytest.mark.parametrize(("model", "tag"), TAGS, ids=[f"{model}:{tag}" for model, tag in TAGS])
def test_a_tags_facts(model, tag):
    facts = dict(table.get_pretrained_cfg(model, tag))
    weights = plugin.resolve_pretrained(model, tag)
    assert weights.tag == tag
    check_hub([source for source in weights.sources if isinstance(source, HubFile)], facts.pop("hf_hub"))
    urls = [(source.url, source.sha256_prefix) for source in weights.sources if isinstance(source, Url)]
    url = facts.pop("url")
    assert urls == ([(url, hash_in(url))] if url else [])
    assert weights.sources
    stated = dict(weights.stated)
    for key in PREPROCESS:
        value = stated["preprocess_cfg"].get(key)
        assert (tuple(value) if isinstance(value, list) else value) == facts.pop(key, None), key
    assert stated.get("quick_gelu") == facts.pop("quick_gelu", None)
    assert set(stated) <= {"preprocess_cfg", "quick_gelu"}
    assert not facts, "open_clip has further facts about this tag"


def check_hub(sources, hf_hub):
    """After a final slash the file name is searched for. We try open_clip's names in its order, and further ones."""
    if not hf_hub:
        assert not sources
        return
    repository, _, filename = hf_hub.rpartition("/")
    tried = [filename] if filename else [*table._get_safe_alternatives(HF_WEIGHTS_NAME), HF_WEIGHTS_NAME]
    assert [(source.repo, source.revision) for source in sources] == [(repository, "main")]
    names = sources[0].filenames
    assert [name for name in names if name in tried] == tried
    assert names == ((filename,) if filename else HUB_FILENAMES)


def hash_in(url):
    """The hash of a file, which open_clip reads from its address."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return PurePosixPath(url).stem.rpartition("-")[2] if "mlfoundations" in url else ""


@pytest.mark.parametrize("name", NAMES)
def test_a_models_preprocessing(registry, name):
    from open_clip.transform import PreprocessCfg

    default, ours = PreprocessCfg(), registry.config(name).preprocess_cfg
    for key in ("mode", "mean", "std", "interpolation", "resize_mode", "fill_color"):
        assert getattr(ours, key) == getattr(default, key)
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    assert registry.config(name).image_size == (size, size)
