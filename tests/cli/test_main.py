"""The command as a whole: output, errors and exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from registry_core import hookimpl
from registry_core.cli import main
from registry_core.registry import Registry


class TestOutput:
    def test_piped_lines_are_not_cut(self, output_of):
        out = output_of("explain", "ViT-B-32", "--pretrained", "openai", COLUMNS="80")
        assert max(map(len, out.splitlines())) > 80
        assert "/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt" in out
        assert "…" not in out

    def test_has_no_terminal_codes(self, output_of):
        assert "\x1b" not in output_of("list", "*tiny*", FORCE_COLOR="1")

    def test_a_reader_that_stops_early_is_no_error(self, command):
        process = subprocess.Popen(
            [command, "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 0
        assert stderr == ""


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "fact"),
        [
            (["show", "ViT-B-33"], "ViT-B-33"),
            (["explain", "ViT-B-32", "--pretrained", "openay"], "openay"),
            (["explain", "tiny", "--set", "image_size"], "--set image_size"),
            (["explain", "tiny", "--set", "image_size=big"], "'big'"),
            (["create", "tiny", "--precision", "fp31"], "fp31"),
            (["create", "tiny", "--device", "warp"], "warp"),
            (["create", "tiny", "--pretrained", __file__], __file__),
            (["save", "tiny", __file__, "--random"], __file__),
            (["push", "tiny", "--random", "--repo", "x"], "'x'"),
        ],
    )
    def test_are_one_message_and_exit_status_1(self, run_command, arguments, fact):
        done = run_command(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("registry-core: ")
        assert fact in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("arguments", [[], ["lst"], ["show"], ["create", "tiny", "--tower", "both"], ["push", "x"]])
    def test_of_usage_are_exit_status_2(self, run_command, arguments):
        done = run_command(*arguments)
        assert done.returncode == 2
        assert "usage: registry-core" in done.stderr

    def test_name_the_errors_of_broken_plugins_as_causes(self, monkeypatch, capsys):
        class Failing:
            @hookimpl
            def resolve_config(self, name):
                raise ZeroDivisionError(name)

        registry = Registry()
        registry.register(Failing(), "failing")
        monkeypatch.setattr("registry_core.cli.Registry", lambda: registry)
        assert main(["show", "no-such-model"]) == 1
        message, cause = capsys.readouterr().err.splitlines()
        assert message.startswith("registry-core: ")
        assert cause.startswith("  caused by: ")
        assert "failing (" in cause


def test_python_m_is_the_same_command(tiny_config):
    arguments = ["list", "*tiny", "--json", "--config", str(tiny_config)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "registry_core", *arguments], capture_output=True, text=True, check=True
    )
    assert {"tiny", "daclip_tiny"} <= set(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [["list"], ["plugins"], ["explain", "ViT-B-32", "--pretrained", "openai"]])
def test_commands_that_only_look_up_need_no_torch(arguments):
    code = "import sys; sys.modules['torch'] = None; from registry_core.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "openai" in done.stdout


def test_listing_imports_neither_torch_nor_requests():
    code = "import sys; from registry_core.cli import main; main(['list', '-vv'])\n"
    code += "assert not {'torch', 'requests', 'rich.table'} & set(sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
