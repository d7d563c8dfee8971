"""Names of the scheme hf-hub, against a server of this machine."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from registry_core import ConfigError, FetchError, Registry, UnknownModelError

NAME = "hf-hub:acme/tiny-clip"


@pytest.fixture
def place(hub, folder):
    """Where the server keeps the repository's files."""
    return hub.add(folder, "acme/tiny-clip")


def test_config_and_weights_come_from_the_repository(registry, model, place, same):
    again = registry.create(NAME)
    assert same(model, again)
    report = registry.report(again)
    assert report.cached
    assert report.plugin.startswith("hub ")
    assert report.owner.startswith("openai_clip ")
    assert report.weights.startswith("file hf-hub:acme/tiny-clip@main (open_clip_model.safetensors or ")
    assert report.to_dict()["home"] == "hf-hub:acme/tiny-clip@main (open_clip_config.json)"


def test_the_second_time_needs_no_network(registry, model, hub, place, same):
    registry.create(NAME)
    hub.shutdown()
    hub.server_close()
    assert same(model, Registry().create(NAME))


def test_offline_and_not_there_is_an_error(registry, hub, place, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE"):
        registry.create(NAME)
    assert not hub.asked


def test_a_revision(registry, hub, place, folder, same):
    torch.manual_seed(5)
    other = registry.save(registry.create("tiny", False), folder.parent / "other")
    hub.add(other, "acme/tiny-clip", "v2.0")
    assert same(registry.create(f"local-dir:{folder}"), registry.create(NAME))
    assert same(registry.create(f"local-dir:{other}"), registry.create(f"{NAME}@v2.0"))
    assert not same(registry.create(NAME), registry.create(f"{NAME}@v2.0"))


def test_listing_and_asking_for_the_config_read_no_weights(registry, hub, place):
    registry.list_models()
    assert not hub.asked
    assert registry.config(NAME).embed_dim == 48
    assert registry.preprocess(NAME).size == (64, 64)
    assert registry.explain(NAME).places[0].state == "not here yet"
    assert {path.rpartition("/")[2] for path in hub.asked} == {"open_clip_config.json"}


def test_download_brings_the_weights(registry, place):
    path = registry.download(NAME)
    assert path.read_bytes() == (place / "open_clip_model.safetensors").read_bytes()
    assert "in the cache" in registry.explain(NAME).places[0].state


def test_the_cache_folder_of_the_call_holds_the_config_too(registry, place, tmp_path, monkeypatch):
    usual = tmp_path / "usual"
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(usual))
    registry.create(NAME, cache_dir=tmp_path / "mine")
    kept = {path.name for path in (tmp_path / "mine").rglob("*")}
    assert {"open_clip_config.json", "open_clip_model.safetensors"} <= kept
    assert not usual.exists()


def test_an_old_repository_with_a_pickle_alone(registry, model, place, same):
    (place / "open_clip_model.safetensors").unlink()
    torch.save(model.state_dict(), place / "open_clip_pytorch_model.bin")
    again = registry.create(NAME)
    assert same(model, again)
    assert registry.report(again).path.name == "open_clip_pytorch_model.bin"


def test_a_repository_without_weights_is_an_error(registry, place):
    (place / "open_clip_model.safetensors").unlink()
    with pytest.raises(FetchError, match=r"open_clip_pytorch_model\.bin"):
        registry.create(NAME)
    assert registry.report(registry.create(NAME, pretrained=False)).random


def test_no_such_repository(registry, hub):
    with pytest.raises(UnknownModelError, match=r"'hf-hub:acme/none' has no open_clip_config\.json: .*404.*revision"):
        registry.create("hf-hub:acme/none")


@pytest.mark.parametrize(
    "address",
    ["", "repo", "org/", "/repo", "org/repo/file", "../../etc", "org/..", "org/repo@", "org/repo@../x", "org/re po",
     "org/repo@a b", "org\\repo", "org/repo@/x", "https://huggingface.co/org/repo", "-org/repo", "org/repö",
     "org/repo\n"],
)  # fmt: skip
def test_an_address_that_cannot_be_is_never_asked_for(registry, hub, address):
    with pytest.raises(UnknownModelError, match=r"is no repository of the hub\. Expected hf-hub:org/repo"):
        registry.create(f"hf-hub:{address}")
    assert not hub.asked


@pytest.mark.parametrize("key", ["hf_model_config", "auto_map", "trust_remote_code", "torch_dtype"])
def test_keys_that_are_not_known_are_refused(registry, hub, place, key):
    path = place / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"][key] = {"attn_implementation": "evil"}
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=rf"config of hf-hub:acme/tiny-clip@main(.|\n)*{key}: unknown key"):
        registry.create(NAME)
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_what_the_server_gives_must_be_json(registry, place):
    (place / "open_clip_config.json").write_text("please log in")
    with pytest.raises(ConfigError, match="could not be read as a JSON config"):
        registry.create(NAME)


def test_a_saved_card_names_the_repository_and_the_file_s_hash(registry, hub, place, tmp_path):
    text = (registry.save(registry.create(NAME), tmp_path / "again") / "README.md").read_text()
    assert f"| model | {NAME} |" in text
    assert "| weights | file hf-hub:acme/tiny-clip@main (open\\_clip\\_model.safetensors or " in text
    digest = hashlib.sha256((place / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert f"| SHA-256 of their file | {digest} |" in text
