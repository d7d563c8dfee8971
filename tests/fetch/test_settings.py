"""Mirrors, settings files and what is wrong with them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from registry_core import FetchError, HubFile, IntegrityError, Url, Weights
from registry_core.cache import record_of
from registry_core.fetch import Settings, fetch
from registry_core.fetch.contract import AbsentError


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
    def test_the_longest_entry_that_fits_counts(self, url, expected):
        assert Settings(mirrors=MIRRORS).mirrored(url) == expected

    @pytest.mark.parametrize("path", ["/../etc/passwd", "/a/%2e%2e/b", "/a/..%5Cb"])
    def test_a_path_that_leads_upwards_is_refused(self, path):
        with pytest.raises(FetchError, match="leads upwards"):
            Settings(mirrors=MIRRORS).mirrored(f"https://github.com{path}")


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

    @pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become somebody else")
    def test_somebody_elses_home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        (tmp_path / "registry_core").mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(FetchError, match=r"settings at .*settings\.toml cannot be seen: .*Set HOME or XDG_"):
                Settings.load()
        finally:
            os.seteuid(0)

    def test_the_environment_goes_before_the_file(self, settings_file, monkeypatch):
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
            ("read_timeot = 5", r"unknown setting 'read_timeot'\. Did you mean read_timeout"),
            ("read_timeout = 0", r"read_timeout = 0, expected a number above 0"),
            ("attempts = true", r"attempts = True, expected a number above 0"),
            ('attempts = "5"', r"attempts = '5', expected a number"),
            ("mirrors = 5", r"mirrors = 5, expected a table"),
            (
                '[mirrors]\n"a" = "mirror.example"',
                r"'a' is mirrored at 'mirror\.example'; expected .*http://, https:// or",
            ),
            ('[mirrors]\n"a" = 5', r"'a' is mirrored at 5; expected"),
        ],
    )
    def test_what_is_wrong_is_said(self, settings_file, text, message):
        settings_file(text)
        with pytest.raises(FetchError, match=message):
            Settings.load()

    def test_a_named_file_that_is_not_there(self, monkeypatch, tmp_path):
        monkeypatch.setenv("REGISTRY_CORE_SETTINGS", str(tmp_path / "no.toml"))
        with pytest.raises(FetchError, match=r"REGISTRY_CORE_SETTINGS names .*no\.toml, which is no file"):
            Settings.load()

    @pytest.mark.parametrize("value", ["host", "=https://a", "host=ftp://a"])
    def test_a_variable_that_makes_no_sense(self, monkeypatch, value):
        monkeypatch.setenv("REGISTRY_CORE_MIRRORS", value)
        with pytest.raises(FetchError, match=r"REGISTRY_CORE_MIRRORS says that .* such as huggingface\.co=https://"):
            Settings.load()


class TestMirrors:
    def test_are_asked_instead_and_the_place_stays(self, server, context, body_of):
        body = body_of(1000)
        server.add("/mirror/w.pt", body)
        settings = replace(context.settings, mirrors={"weights.example": f"{server.url}/mirror"})
        found = fetch(Weights((Url("https://weights.example/w.pt"),)), {}, replace(context, settings=settings))
        record = record_of(found.path)
        assert (record.source, record.url) == ("https://weights.example/w.pt", f"{server.url}/mirror/w.pt")
        without = replace(context, settings=Settings(offline="X"))
        assert fetch(Weights((Url("https://weights.example/w.pt"),)), {}, without) == found

    def test_are_named_in_errors(self, server, context):
        settings = replace(context.settings, mirrors={"weights.example": server.url})
        with pytest.raises(AbsentError, match=r"https://weights\.example/w\.pt, asked for at its mirror http://127"):
            fetch(Weights((Url("https://weights.example/w.pt"),)), {}, replace(context, settings=settings))

    @pytest.fixture
    def on_disk(self, context, tmp_path):
        settings = replace(context.settings, mirrors={"weights.example": (tmp_path / "mirror").as_uri()}, offline="X")
        (tmp_path / "mirror").mkdir()
        return replace(context, settings=settings), tmp_path / "mirror"

    def test_on_a_disk_are_copied_from_even_offline(self, on_disk, files):
        context, mirror = on_disk
        (mirror / "w.pt").write_bytes(b"123")
        found = fetch(Weights((Url("https://weights.example/w.pt"),)), {}, context)
        assert (found.cached, found.path.read_bytes()) == (True, b"123")
        assert files(context.folder) == ["w.pt", "w.pt.record"]

    def test_on_a_disk_are_verified(self, on_disk, files):
        context, mirror = on_disk
        (mirror / "w.pt").write_bytes(b"123")
        with pytest.raises(IntegrityError, match="should begin with 0000"):
            fetch(Weights((Url("https://weights.example/w.pt", "0000"),)), {}, context)
        assert files(context.folder) == []

    def test_on_a_disk_without_the_file(self, on_disk):
        context, mirror = on_disk
        with pytest.raises(AbsentError, match=rf"would be at {mirror}/w\.pt, which could not be read: No such file"):
            fetch(Weights((Url("https://weights.example/w.pt"),)), {}, context)

    def test_of_the_hub_by_its_endpoint(self, server, context, body_of):
        server.add("/sub/org/repo/resolve/main/w", body_of(10))
        settings = replace(context.settings, endpoint=f"{server.url}/sub")
        assert fetch(Weights((HubFile("org/repo", ("w",)),)), {}, replace(context, settings=settings)).cached


class TestFileUrls:
    def test_are_the_file_itself(self, tmp_path, context):
        path = tmp_path / "w.pt"
        path.write_bytes(b"123")
        found = fetch(Weights((Url(path.as_uri()),)), {}, context)
        assert (found.path, found.cached) == (path, False)

    def test_are_verified(self, tmp_path, context):
        path = tmp_path / "w.pt"
        path.write_bytes(b"123")
        assert fetch(Weights((Url(path.as_uri(), hashlib.sha256(b"123").hexdigest()),)), {}, context).path == path
        with pytest.raises(IntegrityError, match=r"holds other bytes than expected.*should begin with 0000"):
            fetch(Weights((Url(path.as_uri(), "0000"),)), {}, context)

    def test_that_lead_nowhere(self, context):
        with pytest.raises(FetchError, match=r"/no/such\.pt does not exist"):
            fetch(Weights((Url("file:///no/such.pt"),)), {}, context)


class TestSchemes:
    def test_of_plugins_are_given_the_context(self, context, tmp_path):
        seen = []

        def fetcher(source, context):
            seen.append((source.url, context))
            return tmp_path

        assert fetch(Weights((Url("s3://bucket/w"),)), {"s3": fetcher}, context) == tmp_path
        assert seen == [("s3://bucket/w", context)]

    def test_that_nobody_knows_are_named_with_those_there_are(self, context):
        with pytest.raises(FetchError, match=r"no fetcher for 's3'; there are vault, file, http, https, hf-hub"):
            fetch(Weights((Url("s3://bucket/w"),)), {"vault": lambda *_: None}, context)

    def test_of_the_core_are_for_its_own_sources(self, context):
        class Odd:
            scheme = "https"

            def __str__(self):
                return "odd"

        with pytest.raises(FetchError, match=r"'https' is the core's, and a Odd is no source.*a scheme of its own"):
            fetch(Weights((Odd(),)), {}, context)


def test_no_setting_is_left_undocumented():
    text = (Path(__file__).parents[2] / "docs" / "downloads.md").read_text()
    for name in ("connect_timeout", "read_timeout", "attempts", "backoff", "[mirrors]", "REGISTRY_CORE_MIRRORS"):
        assert name in text
