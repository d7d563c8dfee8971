"""The user's folders, with and without a home. Containers run processes without HOME and without an account."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from registry_core import FetchError
from registry_core.fetch import Settings, user_folders
from registry_core.fetch.cache import cache_folder
from registry_core.fetch.user_folders import expanded, user_cache, user_settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows always knows the user's folders")

HOME_VARIABLES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "REGISTRY_CORE_CACHE", "HF_HOME", "HF_HUB_CACHE")


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    """Neither HOME nor an account names a home. Return the temporary folder."""

    def no_account(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", no_account)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in HOME_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_home_is_used(monkeypatch, tmp_path):
    for name in HOME_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in user_cache().parents
    assert tmp_path in user_settings().parents
    assert expanded("~/x/y") == tmp_path / "x" / "y"
    assert list(tmp_path.iterdir()) == []


class TestWithoutHome:
    def test_the_cache_is_a_private_folder_in_the_temporary_folder(self, no_home):
        folder = no_home / f"registry_core-{os.getuid()}"
        assert cache_folder() == user_cache() == folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert expanded("~/.cache/huggingface") == folder / ".cache" / "huggingface"

    @pytest.mark.usefixtures("no_home")
    def test_there_are_no_settings_of_the_user(self):
        assert user_settings() is None
        assert Settings.load().attempts == Settings().attempts

    def test_the_folder_of_another_user_is_refused(self, no_home, monkeypatch):
        folder = user_cache()
        owner = os.getuid()
        monkeypatch.setattr(user_folders.os, "getuid", lambda: owner + 1)
        folder.rename(no_home / f"registry_core-{owner + 1}")
        with pytest.raises(FetchError, match=r"belongs to another user.*Set HOME") as e:
            user_cache()
        assert e.value.path == no_home / f"registry_core-{owner + 1}"

    def test_a_link_is_refused(self, no_home):
        (no_home / "elsewhere").mkdir()
        (no_home / f"registry_core-{os.getuid()}").symlink_to(no_home / "elsewhere")
        with pytest.raises(FetchError):
            user_cache()

    def test_a_temporary_folder_without_write_permission_does_not_matter_for_local_work(self, no_home, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(no_home / "absent"))
        assert user_cache() == no_home / "absent" / f"registry_core-{os.getuid()}"

    def test_models_load_from_files_and_folders(self, registry, tmp_path):
        """In a process of its own: imports may look for a home too."""
        model = registry.create("tiny", pretrained=False)
        registry.save(model, tmp_path / "saved")
        torch.save(model.state_dict(), tmp_path / "tiny.pt")
        program = (
            "import pwd, sys\n"
            "def no_account(uid): raise KeyError(uid)\n"
            "pwd.getpwuid = no_account\n"
            "from registry_core import registry\n"
            "folder = sys.argv[1]\n"
            "model = registry.create(f'local-dir:{folder}/saved')\n"
            "registry.load(model, f'{folder}/tiny.pt')\n"
            "registry.preprocess(model)\n"
            "registry.explain('ViT-B-32', 'openai')\n"
            "print(registry.report(model).path.name)\n"
        )
        environment = {key: value for key, value in os.environ.items() if key not in HOME_VARIABLES}
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(tmp_path)],
            env=environment | {"TMPDIR": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("tiny.pt\n", "")
        assert not Path(tmp_path, "~").exists()
