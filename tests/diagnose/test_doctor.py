"""Checks of an installation. tests/thirdparty/test_faults.py tests them with plugins that are really installed."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata

import pytest

from registry_core.diagnose import doctor
from registry_core.diagnose.doctor import Finding, describe, examine


@pytest.fixture
def findings(registry):
    """findings("cache") -> the findings about a subject."""
    return lambda subject: [finding for finding in examine(registry.services) if finding.subject == subject]


class TestEnvironment:
    def test_python_and_the_package_are_reported(self, findings):
        assert sys.executable in findings("python")[0].text
        assert findings("registry_core")[0].text.startswith(metadata.version("registry_core"))

    def test_passwords_of_proxies_are_hidden(self, findings, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:80")
        assert findings("HTTPS_PROXY") == [Finding("ok", "HTTPS_PROXY", "http://***@proxy.example:80")]


class TestTorch:
    def test_is_reported_with_its_devices(self, findings):
        (found,) = findings("torch")
        assert found.state == "ok"
        assert re.search(r" on cpu", found.text)

    def test_a_torch_that_cannot_be_imported_is_a_problem(self, findings, monkeypatch):
        def import_module(name):
            raise OSError(f"lib{name}.so: cannot open shared object file")

        monkeypatch.setattr(doctor.importlib, "import_module", import_module)
        (found,) = findings("torch")
        assert found.state == "problem"
        assert found.text.startswith("cannot be imported: libtorch.so: cannot open shared object file. Models are list")
        assert "OSError" in found.details


class TestRequirements:
    @pytest.fixture
    def require(self, monkeypatch):
        """require("json>=1", ...) sets the requirements of every distribution."""
        return lambda *lines: monkeypatch.setattr(doctor.metadata, "requires", lambda _: list(lines))

    def test_a_missing_and_an_old_requirement_are_problems(self, findings, require):
        require("surely-not-installed>=1", "pytest>=999", "pytest>=1", "not a requirement !")
        texts = [found.text for found in findings("registry_core") if found.state == "problem"]
        assert texts == [
            "surely-not-installed is not installed",
            f"pytest {metadata.version('pytest')} is installed, but >=999 is required",
        ]

    def test_a_missing_extra_is_absent_with_its_command(self, findings, require):
        require("surely-not-installed; extra == 'timm'", "pytest")
        (found,) = findings("extra timm")
        assert found.state == "absent"
        assert found.text == (
            "surely-not-installed is not installed. If you need it: pip install 'registry_core[timm]'"
        )
        assert findings("extra image") == [Finding("ok", "extra image", "installed")]

    def test_requirements_of_other_platforms_do_not_count(self, findings, require):
        require("surely-not-installed; sys_platform == 'plan9'")
        assert [found for found in findings("registry_core") if found.state == "problem"] == []

    def test_extras_of_developers_are_left_out(self, findings):
        assert findings("extra test") == findings("extra lint") == []


class TestPlugins:
    def test_a_working_plugin_has_its_file(self, findings, registry):
        daclip = next(plugin for plugin in registry.plugins() if plugin.name == "daclip")
        (found,) = findings(f"plugin {daclip}")
        assert found.state == "ok"
        assert found.text.startswith(f"works, {daclip.file}")

    def test_a_failing_plugin_is_a_problem_with_its_traceback(self, findings, add_plugin):
        def list_models():
            raise ZeroDivisionError("oops")

        plugin = add_plugin("failing", list_models=list_models)
        (found,) = findings(f"plugin {plugin}")
        assert (found.state, found.text) == ("problem", str(plugin.error))
        assert "ZeroDivisionError: oops" in found.details

    def test_a_conflict_is_a_warning(self, findings, add_plugin):
        add_plugin("rival", list_pretrained=lambda: [("ViT-B-32", "openai")])
        (found,) = findings("conflict")
        assert found.state == "warning"
        assert found.text.startswith("tag 'openai' of 'ViT-B-32' is provided by openai_clip (registry_core")


class TestConfigs:
    @pytest.fixture
    def write(self, tmp_path, monkeypatch):
        """write("mine", text) adds the file of a user's config."""
        monkeypatch.setenv("REGISTRY_CORE_CONFIG_PATH", str(tmp_path))
        return lambda name, text: (tmp_path / f"{name}.json").write_text(text)

    def test_one_that_no_plugin_claims_is_a_problem(self, findings, write):
        write("mine", '{"architecture": "coco"}')
        (found,) = findings("config mine")
        assert found.state == "problem"
        assert "'coco'" in found.text

    def test_one_that_cannot_be_read_is_a_problem(self, findings, write, tmp_path):
        write("mine", "{no json")
        (found,) = findings("user configs")
        assert found.state == "problem"
        assert str(tmp_path / "mine.json") in found.text


class TestCache:
    def test_that_does_not_exist_is_empty(self, findings, tmp_path, monkeypatch):
        monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path / "no"))
        assert findings("cache") == [Finding("ok", "cache", f"{tmp_path / 'no'}, empty so far")]

    def test_is_counted(self, findings, cached, context):  # noqa: ARG002 - fills the cache
        assert findings("cache") == [Finding("ok", "cache", f"{context.folder}, 2 files, 3,048 bytes")]

    def test_files_of_another_size_and_interrupted_downloads_are_reported(self, findings, cached):
        cached[0].write_bytes(b"short")
        part = cached[1].with_name("hub.pt.x.part")
        part.write_bytes(b"123")
        _, short, interrupted = findings("cache")
        assert short.state == "warning"
        assert short.text.startswith(f"{cached[0]} does not have its recorded size. It is not used; it is fetched ")
        assert (interrupted.state, interrupted.text) == (
            "ok", f"{part} is left over from an interrupted download; the next download resumes from it",
        )  # fmt: skip

    def test_that_is_not_writable_is_a_warning(self, findings, cached, context, monkeypatch):  # noqa: ARG002
        monkeypatch.setattr(doctor.os, "access", lambda path, mode: (path, mode) != (context.folder, os.W_OK))
        first = findings("cache")[0]
        assert first.state == "warning"
        assert first.text == f"{context.folder} is not writable: its files are used, but none are added"


class TestExamine:
    def test_a_check_that_fails_is_a_problem(self, registry, monkeypatch):
        def _broken(services):
            raise RuntimeError("out of order")

        monkeypatch.setattr(doctor, "CHECKS", (_broken,))
        (found,) = examine(registry.services)
        assert (found.state, found.subject, found.text) == ("problem", "broken", "could not be checked: out of order")
        assert "RuntimeError: out of order" in found.details

    def test_findings_are_a_table_with_tracebacks_and_a_count(self):
        found = [Finding("problem", "a", "no"), Finding("warning", "b", "hm", "Traceback ..."), Finding("ok", "c", "")]
        lines = describe(found).splitlines()
        assert lines[0].split() == ["state", "subject", "finding"]
        assert lines[2].split() == ["problem", "a", "no"]
        assert lines[-4:] == ["", "Traceback ...", "", "1 problem, 1 warning"]
        assert describe([]).endswith("0 problems, 0 warnings")
