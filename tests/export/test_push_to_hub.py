"""Pushing a model to a hub on this machine, and creating it from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from registry_core import BuildError, FetchError, OfflineError, OverrideError, Registry, RegistryError

REPO = "acme/tiny-clip"
ONE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 32, "heads": 2, "layers": 1},
}
FILES = {"README.md", "open_clip_config.json", "open_clip_model.safetensors"}

pytestmark = [
    pytest.mark.usefixtures("plain_uploads", "hub"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # huggingface_hub's plain upload, of httpx
]


@pytest.fixture
def model(registry):
    torch.manual_seed(21)
    return registry.create("tiny", False)


@pytest.fixture
def held(hub):
    """The repository on the server."""
    return lambda: hub.repositories[REPO]


def same(one, other):
    image, text = torch.rand(2, 3, *one.config.image_size), torch.randint(1, 600, (2, 77))
    with torch.no_grad():
        pairs = [(one.encode_image(image), other.encode_image(image)), (one.encode_text(text), other.encode_text(text))]
    return all(torch.equal(left, right) for left, right in pairs)


class TestWhatIsPushed:
    @pytest.mark.parametrize("name", ["tiny", "daclip_tiny"])
    def test_comes_back_to_the_bit(self, registry, hub, held, name):
        model = registry.create(name, False)
        url = registry.push(model, REPO)
        assert url == f"{hub.url}/{REPO}/commit/{held().at('main')[0]}"
        assert held().files.keys() == {".gitattributes", *FILES}
        again = Registry().create(f"hf-hub:{REPO}")
        assert same(model, again)
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)

    def test_is_what_save_writes_but_for_the_card_s_address(self, registry, model, held, tmp_path):
        registry.push(model, REPO)
        folder = registry.save(model, tmp_path / "saved")
        for name in FILES - {"README.md"}:
            assert held().files[name] == (folder / name).read_bytes()
        card = held().files["README.md"].decode()
        assert f"# {REPO}\n" in card
        assert f'registry.create("hf-hub:{REPO}")' in card

    def test_is_one_commit(self, registry, model, hub, held):
        registry.push(model, REPO)
        assert len(held().branches["main"]) == 2
        assert held().messages == ["Upload tiny with registry_core"]
        registry.push(model, REPO, commit_message="Again")
        assert held().messages[1:] in ([], ["Again"])  # a release may see that nothing has changed
        assert sum(line.startswith("PUT") for line in hub.asked) == 1

    def test_replaces_what_was_pushed_before(self, registry, model, held):
        registry.push(model, REPO)
        with torch.no_grad():
            model.logit_scale.fill_(1)
        first = held().files
        registry.push(model, REPO)
        assert held().files["open_clip_model.safetensors"] != first["open_clip_model.safetensors"]
        assert Registry().create(f"hf-hub:{REPO}").logit_scale == 1

    def test_is_private_if_asked(self, registry, model, hub):
        registry.push(model, "acme/open")
        registry.push(model, "acme/own", private=True)
        assert hub.repositories["acme/open"].private is None, "the organisation's default"
        assert hub.repositories["acme/own"].private is True

    def test_goes_to_a_branch(self, registry, model, held):
        registry.push(model, REPO)
        held().branches["v2.0"] = list(held().branches["main"])
        main = held().files
        with torch.no_grad():
            model.logit_scale.fill_(2)
        registry.push(model, REPO, revision="v2.0")
        assert held().files is main
        assert Registry().create(f"hf-hub:{REPO}@v2.0").logit_scale == 2

    def test_is_proposed_as_a_pull_request(self, registry, model, hub, held):
        registry.push(model, REPO)
        with torch.no_grad():
            model.logit_scale.fill_(3)
        main = held().files
        assert registry.push(model, REPO, create_pr=True) == f"{hub.url}/{REPO}/discussions/1"
        assert held().files is main
        assert list(held().branches) == ["main", "refs/pr/1"]

    def test_goes_with_the_caller_s_token(self, registry, model, held, monkeypatch):
        token = os.environ["HF_TOKEN"]
        monkeypatch.setenv("HF_TOKEN", "hf_another")
        registry.push(model, REPO, token=token)
        assert held().files.keys() > FILES

    def test_leaves_nothing_on_the_disk(self, registry, model, tmp_path, monkeypatch):
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        registry.push(model, REPO)
        assert list((tmp_path / "temporary").iterdir()) == []

    def test_in_a_process_of_its_own_with_the_variables_that_users_set(self, hub, held):
        program = (
            "import json, sys; from registry_core import registry\n"
            "name = registry.add_config(json.loads(sys.argv[1]), 'one')\n"
            f"print(registry.push(registry.create(name, False), '{REPO}'))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, json.dumps(ONE)],
            capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "HF_HUB_DISABLE_XET": "1"},
        )  # fmt: skip
        assert done.stdout.startswith(f"{hub.url}/{REPO}/commit/"), done.stderr
        assert held().files.keys() > FILES

    def test_by_the_command(self, hub, held, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(tmp_path))
        (tmp_path / "one.json").write_text(json.dumps(ONE))
        command = [
            Path(sys.executable).with_name("registry-core"),
            "push",
            "one",
            "--random",
            "--repo",
            REPO,
            "--private",
        ]
        done = subprocess.run(
            [*command, "--message", "First", "--json"],
            capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "HF_HUB_DISABLE_XET": "1"},
        )  # fmt: skip
        assert json.loads(done.stdout)["url"] == f"{hub.url}/{REPO}/commit/{held().at('main')[0]}", done.stderr
        assert (held().private, held().messages) == (True, ["First"])


class TestTheCardOnTheHub:
    def write(self, held, text):
        commit, files = held().branches["main"][-1]
        held().branches["main"].append((commit[::-1].replace("0", "1"), {**files, "README.md": text}))

    def test_stays_where_a_person_wrote_it(self, registry, model, held):
        registry.push(model, REPO)
        mine = b"# Mine\n\nTrained on my own images.\n"
        self.write(held, mine)
        with torch.no_grad():
            model.logit_scale.fill_(4)
        registry.push(model, REPO)
        assert held().files["README.md"] == mine
        assert Registry().create(f"hf-hub:{REPO}").logit_scale == 4

    def test_is_renewed_where_it_is_ours(self, registry, model, held):
        registry.push(model, REPO)
        first = held().files["README.md"]
        registry.push(registry.create("tiny", False, precision="bf16"), REPO)
        assert held().files["README.md"] != first
        assert b"bf16" in held().files["README.md"]

    def test_that_changes_during_the_push_ends_the_push(self, registry, model, hub, held):
        registry.push(model, REPO)
        with torch.no_grad():
            model.logit_scale.fill_(5)
        hub.before[f"POST /api/models/{REPO}/commit"] = lambda: self.write(held, b"# Mine\n")
        with pytest.raises(FetchError, match=r"Another client changed the repository.*Try again\.") as caught:
            registry.push(model, REPO)
        assert caught.value.status == 412
        assert held().files["README.md"] == b"# Mine\n"


class TestRefusals:
    @pytest.mark.parametrize(
        "repo",
        ["", "name", "a b/c", "x/y/z", "../x", "org/..", "org/a..b", "-org/x", "org/", "/x", "org/x@main", "a--b/c",
         "org/x.git", "hf-hub:org/x", "https://hub/org/x", "org\\x", "org/é", "org/x\n"],
    )  # fmt: skip
    def test_of_an_invalid_repository(self, registry, model, hub, repo):
        with pytest.raises(
            OverrideError, match=r"is not a repository of the hub\. Expected organisation/name.*Nothing was"
        ) as caught:
            registry.push(model, repo)
        assert (caught.value.argument, caught.value.found) == ("repo", repo)
        assert not hub.asked

    @pytest.mark.parametrize("revision", ["", "a b", "../main", "-x", "x\n"])
    def test_of_an_invalid_branch(self, registry, model, hub, revision):
        with pytest.raises(OverrideError, match=r"is not a valid branch name\. Nothing was sent") as caught:
            registry.push(model, REPO, revision=revision)
        assert (caught.value.argument, caught.value.found) == ("revision", revision)
        assert not hub.asked

    def test_of_a_misspelt_option(self, registry, model, hub):
        with pytest.raises(TypeError, match="unexpected keyword argument 'revison'"):
            registry.push(model, REPO, revison="experiment")
        assert hub.asked == []

    @pytest.mark.parametrize("variable", ["REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE"])
    def test_offline(self, registry, model, hub, variable, monkeypatch):
        monkeypatch.setenv(variable, "1")
        with pytest.raises(
            OfflineError, match=rf"tiny was not pushed to {REPO}: {variable} forbids .*Nothing was sent"
        ) as caught:
            registry.push(model, REPO)
        assert caught.value.variable == variable
        assert not hub.asked

    def test_of_a_foreign_model_and_of_an_empty_shell(self, registry, hub):
        with pytest.raises(RegistryError) as caught:
            registry.push(torch.nn.Linear(1, 1), REPO)
        assert caught.value.found == "Linear"
        shell = registry.create("tiny", device="meta")
        with pytest.raises(BuildError) as caught:
            registry.push(shell, REPO)
        assert caught.value.name in shell.state_dict()
        assert not hub.asked

    def test_without_the_package(self, registry, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(BuildError, match=r"needs the package huggingface_hub.*pip install 'registry_core\[push\]'"):
            registry.push(model, REPO)

    def test_without_a_login(self, registry, model, hub, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(
            FetchError, match=r"could not be created\. The hub requires a login\. Nothing was sent\. .*HF_TOKEN"
        ) as caught:
            registry.push(model, REPO)
        assert caught.value.status == 401
        assert not hub.repositories

    @pytest.mark.parametrize(
        ("refused", "words"),
        [
            (("POST /api/repos/create", 403), r"could not be created\. The token has no write.*Nothing was sent\."),
            ((f"GET /api/models/{REPO}", 403), r"could not be read\..* exists and was not changed\."),
            ((f"POST /api/models/{REPO}/preupload", 403), "the files were not accepted"),
            ((f"POST /{REPO}.git/info/lfs", 403), "the files were not accepted"),
            (("PUT /lfs", 403), "the files were not accepted"),
            ((f"POST /api/models/{REPO}/commit", 403), r"no write access\. No commit is known.*/commits/main"),
            ((f"POST /api/models/{REPO}/commit", 507), r"the files were not accepted\. No commit is known"),
        ],
    )
    def test_of_the_hub_say_what_was_done(self, registry, model, hub, refused, words):
        hub.refuse = dict([refused])
        with pytest.raises(FetchError, match=rf"(?s)tiny was not pushed to {REPO} at {hub.url}: .*{words}") as caught:
            registry.push(model, REPO)
        assert (caught.value.status, caught.value.url) == (refused[1], f"{hub.url}/{REPO}")
        assert str(refused[1]) in caught.value.found
        assert caught.value.advice in str(caught.value)
        assert bool(caught.value.advice) == (refused[1] == 403)
        assert "hf_of_the_tests" not in str(caught.value)
        assert all(held.files.keys() == {".gitattributes"} for held in hub.repositories.values())

    def test_of_a_branch_that_does_not_exist(self, registry, model, held):
        with pytest.raises(FetchError, match=r"The repository or branch does not exist") as caught:
            registry.push(model, REPO, revision="v3")
        assert caught.value.status == 404
        assert list(held().branches) == ["main"]

    def test_if_no_server_answers(self, registry, model, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(FetchError, match=r"Nothing was sent\. Check the network and HF_ENDPOINT") as caught:
            registry.push(model, REPO)
        assert caught.value.url == f"http://127.0.0.1:9/{REPO}"
        assert caught.value.status is None

    @pytest.mark.parametrize("endpoint", ["nonsense", "http://[", "ftp://hub", "http://127.0.0.1:99999", "https://"])
    def test_if_the_endpoint_is_not_an_address(self, registry, model, endpoint, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(
            FetchError, match=r"HF_ENDPOINT is '.*', expected an address such as .*Nothing was sent\."
        ) as caught:
            registry.push(model, REPO)
        assert (caught.value.name, caught.value.found) == ("HF_ENDPOINT", endpoint.rstrip("/"))

    def test_if_the_answer_is_not_from_a_hub(self, registry, model, hub):
        hub.create = lambda _: (200, b"<html>log in</html>")
        with pytest.raises(FetchError) as caught:
            registry.push(model, REPO)
        assert caught.value.status is None
        assert not hub.repositories
