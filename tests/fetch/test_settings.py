"""Settings files, environment variables, and errors in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_core import FetchError
from registry_core.fetch import Settings


@pytest.fixture
def settings_file(tmp_path, monkeypatch):
    """Write the settings file that REGISTRY_CORE_SETTINGS names."""
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("REGISTRY_CORE_SETTINGS", str(path))

    def write(text):
        path.write_text(text)
        return path

    return write


MIRRORS = {
    "openaipublic.azureedge.net": "https://mirror.example/openai/",
    "github.com/mlfoundations": "http://other.example",
    "github.com": "https://third.example/gh",
}


class TestMirrored:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("https://openaipublic.azureedge.net/clip/RN50.pt", "https://mirror.example/openai/clip/RN50.pt"),
            ("https://OpenAIPublic.azureedge.net/RN50.pt", "https://mirror.example/openai/RN50.pt"),
            ("https://github.com/mlfoundations/w.pt?a=b", "http://other.example/w.pt?a=b"),
            ("https://github.com/mlfoundations-not/w.pt", "https://third.example/gh/mlfoundations-not/w.pt"),
            ("https://elsewhere.example/github.com/w.pt", "https://elsewhere.example/github.com/w.pt"),
            ("https://github.com.evil.example/w.pt", "https://github.com.evil.example/w.pt"),
        ],
    )
    def test_the_longest_matching_entry_is_used(self, url, expected):
        assert Settings(mirrors=MIRRORS).mirrored(url) == expected

    @pytest.mark.parametrize("path", ["/../etc/passwd", "/a/%2e%2e/b", "/a/..%5Cb"])
    def test_a_path_that_leads_upwards_is_refused(self, path):
        url = f"https://github.com{path}"
        with pytest.raises(
            FetchError, match=r"The path of https://github\.com/\S+ contains `\.\.`.*Write the"
        ) as caught:
            Settings(mirrors=MIRRORS).mirrored(url)
        assert caught.value.url == url


class TestLoad:
    def test_without_files_and_variables(self):
        assert Settings.load() == Settings()

    def test_a_file(self, settings_file):
        settings_file('read_timeout = 120\n[mirrors]\n"https://Host.example/a" = "file:///mnt/a"\n')
        assert Settings.load() == Settings(read_timeout=120, mirrors={"host.example/a": "file:///mnt/a"})

    def test_the_users_own_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        (tmp_path / "registry_core").mkdir()
        (tmp_path / "registry_core" / "settings.toml").write_text("attempts = 9\n")
        assert Settings.load().attempts == 9

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become another user")
    def test_a_folder_of_another_user(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        (tmp_path / "registry_core").mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(
                FetchError, match=r"settings file .*settings\.toml could not be checked: .*Set HOME or XDG_"
            ) as caught:
                Settings.load()
            assert caught.value.path.parts[-2:] == ("registry_core", "settings.toml")
        finally:
            os.seteuid(0)

    def test_the_environment_overrides_the_file(self, settings_file, monkeypatch):
        settings_file('[mirrors]\n"a.example" = "https://file.example"\n"b.example" = "https://file.example"\n')
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", "a.example=https://variable.example c.example=file:///mnt")
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
        found = Settings.load()
        assert found.mirrors == {
            "a.example": "https://variable.example",
            "b.example": "https://file.example",
            "c.example": "file:///mnt",
        }
        assert found.endpoint == "https://hub.example"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("read_timeout = ", r"settings\.toml could not be read as TOML: .*Correct the file"),
            (
                "read_timeot = 5",
                r"unknown setting 'read_timeot'\. Did you mean read_timeout, connect_timeout\? Correct the file",
            ),
            ("xyz = 5", r"unknown setting 'xyz'\. The settings are connect_timeout, .*, mirrors\. Correct the file"),
            (
                "read_timeout = 0",
                r"settings\.toml contains read_timeout = 0, expected a number above 0\. Correct the file",
            ),
        ],
    )
    def test_an_error_in_the_file_is_reported(self, settings_file, text, message):
        path = settings_file(text)
        with pytest.raises(FetchError, match=message) as caught:
            Settings.load()
        assert caught.value.path == path

    @pytest.mark.parametrize(
        ("text", "name", "found", "expected"),
        [
            ("attempts = true", "attempts", True, "a number above 0"),
            ('attempts = "5"', "attempts", "5", "a number above 0"),
            ("attempts = -1", "attempts", -1, "a number above 0"),
            ("mirrors = 5", "mirrors", 5, "a table [mirrors]"),
            ('[mirrors]\n"a" = 5', "a", 5, "a host and an address that begins with http://, https:// or file://"),
        ],
    )
    def test_a_wrong_value_is_an_attribute_of_the_error(self, settings_file, text, name, found, expected):
        path = settings_file(text)
        with pytest.raises(FetchError) as caught:
            Settings.load()
        error = caught.value
        assert (error.path, error.name, error.found, error.expected) == (path, name, found, expected)

    def test_a_mirror_without_a_scheme(self, settings_file):
        path = settings_file('[mirrors]\n"a" = "mirror.example"')
        with pytest.raises(
            FetchError,
            match=r"toml maps 'a' to the mirror 'mirror\.example', expected .*http://, https:// or file://\. ",
        ) as caught:
            Settings.load()
        assert (caught.value.path, caught.value.argument) == (path, None)

    def test_a_named_file_that_does_not_exist(self, monkeypatch, tmp_path):
        monkeypatch.setenv("REGISTRY_CORE_SETTINGS", str(tmp_path / "no.toml"))
        with pytest.raises(FetchError, match=r"REGISTRY_CORE_SETTINGS names .*no\.toml, which is not a file") as caught:
            Settings.load()
        assert (caught.value.argument, caught.value.path) == ("REGISTRY_CORE_SETTINGS", tmp_path / "no.toml")

    @pytest.mark.parametrize("value", ["host", "=https://a", "host=ftp://a"])
    def test_a_variable_that_is_not_valid(self, monkeypatch, value):
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", value)
        with pytest.raises(FetchError) as caught:
            Settings.load()
        assert (caught.value.argument, caught.value.path) == ("REGISTRY_CORE_MIRRORS", None)
        assert "huggingface.co=https://" in caught.value.advice


def test_no_setting_is_left_undocumented():
    text = (Path(__file__).parents[2] / "docs" / "downloads.md").read_text()
    for name in ("connect_timeout", "read_timeout", "attempts", "backoff", "[mirrors]", "REGISTRY_CORE_MIRRORS"):
        assert name in text
