"""Names of the scheme hf-hub, with a server on this machine."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from registry_core import ConfigError, FetchError, OfflineError, Registry, UnknownModelError

NAME = "hf-hub:acme/tiny-clip"


@pytest.fixture
def served(hub, folder):
    """The folder of the server that holds the repository's files."""
    return hub.add(folder, "acme/tiny-clip")


def test_config_and_weights_come_from_the_repository(registry, model, served, same):
    again = registry.create(NAME)
    assert same(model, again)
    report = registry.report(again)
    assert report.cached
    assert report.plugin.startswith("hub ")
    assert report.owner.startswith("openai_clip ")
    assert report.weights.startswith("file hf-hub:acme/tiny-clip@main (open_clip_model.safetensors or ")
    assert report.to_dict()["home"] == "hf-hub:acme/tiny-clip@main (open_clip_config.json)"


def test_the_second_time_needs_no_network(registry, model, hub, served, same):
    registry.create(NAME)
    hub.shutdown()
    hub.server_close()
    assert same(model, Registry().create(NAME))


def test_offline_without_the_file_is_an_error(registry, hub, served, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        registry.create(NAME)
    assert caught.value.variable == "HF_HUB_OFFLINE"
    assert not hub.asked


def test_a_revision(registry, hub, served, folder, same):
    torch.manual_seed(5)
    other = registry.save(registry.create("tiny", False), folder.parent / "other")
    hub.add(other, "acme/tiny-clip", "v2.0")
    assert same(registry.create(f"local-dir:{folder}"), registry.create(NAME))
    assert same(registry.create(f"local-dir:{other}"), registry.create(f"{NAME}@v2.0"))
    assert not same(registry.create(NAME), registry.create(f"{NAME}@v2.0"))


def test_listing_and_reading_the_config_fetch_no_weights(registry, hub, served):
    registry.list_models()
    assert not hub.asked
    assert registry.config(NAME).embed_dim == 48
    assert registry.preprocess(NAME).size == (64, 64)
    assert registry.explain(NAME).places[0].state == "not here yet"
    assert {path.rpartition("/")[2] for path in hub.asked} == {"open_clip_config.json"}


def test_download_fetches_the_weights(registry, served):
    path = registry.download(NAME)
    assert path.read_bytes() == (served / "open_clip_model.safetensors").read_bytes()
    assert "in the cache" in registry.explain(NAME).places[0].state


def test_the_cache_folder_of_the_call_holds_the_config_too(registry, served, tmp_path, monkeypatch):
    usual = tmp_path / "usual"
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(usual))
    registry.create(NAME, cache_dir=tmp_path / "mine")
    kept = {path.name for path in (tmp_path / "mine").rglob("*")}
    assert {"open_clip_config.json", "open_clip_model.safetensors"} <= kept
    assert not usual.exists()


def test_an_old_repository_with_only_a_pickle(registry, model, served, same):
    (served / "open_clip_model.safetensors").unlink()
    torch.save(model.state_dict(), served / "open_clip_pytorch_model.bin")
    again = registry.create(NAME)
    assert same(model, again)
    assert registry.report(again).path.name == "open_clip_pytorch_model.bin"


def test_a_repository_without_weights_is_an_error(registry, served):
    (served / "open_clip_model.safetensors").unlink()
    with pytest.raises(FetchError, match=r"open_clip_pytorch_model\.bin"):
        registry.create(NAME)
    assert registry.report(registry.create(NAME, pretrained=False)).random


def test_a_repository_that_does_not_exist(registry, hub):
    message = r"'hf-hub:acme/none' has no open_clip_config\.json: .*404.* Check the repository's name and revision"
    with pytest.raises(UnknownModelError, match=message) as caught:
        registry.create("hf-hub:acme/none")
    assert (caught.value.name, caught.value.expected) == ("hf-hub:acme/none", "open_clip_config.json")


@pytest.mark.parametrize(
    "address",
    ["", "repo", "org/", "/repo", "org/repo/file", "../../etc", "org/..", "org/repo@", "org/repo@../x", "org/re po",
     "org/repo@a b", "org\\repo", "org/repo@/x", "https://huggingface.co/org/repo", "-org/repo", "org/repö",
     "org/repo\n"],
)  # fmt: skip
def test_an_invalid_address_is_never_requested(registry, hub, address):
    with pytest.raises(UnknownModelError) as caught:
        registry.create(f"hf-hub:{address}")
    assert (caught.value.name, caught.value.expected) == (f"hf-hub:{address}", "hf-hub:org/repo[@revision]")
    assert not hub.asked


def test_the_message_for_an_invalid_address_names_the_form(registry):
    message = (
        r"'hf-hub:repo' is not a repository of the hub\. Expected hf-hub:org/repo, or .*@revision .*Nothing was fetched"
    )
    with pytest.raises(UnknownModelError, match=message):
        registry.create("hf-hub:repo")


@pytest.mark.parametrize("key", ["hf_model_config", "auto_map", "trust_remote_code", "torch_dtype"])
def test_unknown_keys_are_refused(registry, hub, served, key):
    path = served / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"][key] = {"attn_implementation": "evil"}
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        registry.create(NAME)
    assert list(caught.value.problems) == [f"text_cfg.{key}"]
    assert caught.value.name.startswith("hf-hub:acme/tiny-clip@main")
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_the_answer_of_the_server_must_be_json(registry, served):
    (served / "open_clip_config.json").write_text("please log in")
    with pytest.raises(ConfigError) as caught:
        registry.create(NAME)
    assert caught.value.path.name == "open_clip_config.json"
    assert not caught.value.problems


def test_a_saved_card_names_the_repository_and_the_file_s_hash(registry, hub, served, tmp_path):
    text = (registry.save(registry.create(NAME), tmp_path / "again") / "README.md").read_text()
    assert f"| model | {NAME} |" in text
    assert "| weights | file hf-hub:acme/tiny-clip@main (open\\_clip\\_model.safetensors or " in text
    digest = hashlib.sha256((served / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert f"| SHA-256 of the weights file | {digest} |" in text
