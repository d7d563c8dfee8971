"""Which program `run` starts. tests/compat/test_stand_in.py tests what the program imports."""

from __future__ import annotations

import argparse
import sys
import sysconfig
from pathlib import Path

import pytest

from registry_core import Registry, RegistryError
from registry_core.cli import main, run


@pytest.fixture
def program(tmp_path):
    """program("print(1)") -> the path of a Python file."""

    def program(code):
        path = tmp_path / "program.py"
        path.write_text(code)
        return str(path)

    return program


def test_a_file_and_a_module_run_with_this_python():
    assert run._command("a.py", is_module=False) == [sys.executable, "a.py"]
    assert run._command("a.b", is_module=True) == [sys.executable, "-m", "a.b"]


def test_commands_of_this_environment_come_first(tmp_path, monkeypatch):
    other = tmp_path / "registry-core"
    other.write_text("")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run._command("registry-core", is_module=False) == [str(Path(sysconfig.get_path("scripts"), "registry-core"))]


def test_a_command_that_does_not_exist_is_refused():
    options = argparse.Namespace(program="no-such-program", is_module=False, arguments=[])
    with pytest.raises(RegistryError, match=r"there is no command 'no-such-program' in .* or on PATH\. Nothing") as e:
        run._run(Registry(), options)
    assert (e.value.name, e.value.argument) == ("no-such-program", "program")


def test_options_after_the_program_belong_to_the_program(program, capfd):
    path = program("import sys; print(sys.argv[1:])")
    assert main(["run", "-v", path, "-v", "--json"]) == 0
    assert capfd.readouterr().out == "['-v', '--json']\n"
