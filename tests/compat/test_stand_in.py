"""`import open_clip` imports the compatibility layer in unchanged programs, in all their processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_core.cli import main
from registry_core.cli.run import environment

LOOK = "import open_clip as o, open_clip.factory as f; print(o.__name__, f.__name__, o.list_models is f.list_models)"
LAYER = "registry_core.compat.open_clip registry_core.compat.open_clip.factory True"


def ran(*command, env=None, cwd=None):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(*command, **options):
    return ran("-P", "-m", "registry_core", "run", *command, **options)


def test_a_file_a_module_and_a_command(tmp_path):
    (tmp_path / "program.py").write_text(f"import sys\n{LOOK}\nprint(sys.argv[1:])")
    assert run(str(tmp_path / "program.py"), "--json", "-x") == f"{LAYER}\n['--json', '-x']"
    assert run("-m", "program", "a", cwd=tmp_path) == f"{LAYER}\n['a']"
    assert run("python", "-P", "-c", LOOK) == LAYER


def test_child_processes_import_the_layer_too(tmp_path):
    (tmp_path / "program.py").write_text(
        "import multiprocessing, subprocess, sys\n"
        f"def child():\n    {LOOK}\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    process = context.Process(target=child); process.start(); process.join()\n"
        f"    subprocess.run([sys.executable, '-c', {LOOK!r}], check=True)\n"
    )
    assert run(str(tmp_path / "program.py")).splitlines() == [LAYER, LAYER]


def test_the_layer_is_found_before_a_fork_next_to_the_program(tmp_path):
    (tmp_path / "open_clip").mkdir()
    (tmp_path / "open_clip" / "__init__.py").write_text("raise SystemExit('the fork')")
    (tmp_path / "program.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{LOOK}")
    assert run(str(tmp_path / "program.py")) == LAYER


def test_a_module_that_the_layer_does_not_have_is_not_found():
    code = "try: import open_clip.hf_model\nexcept ModuleNotFoundError as error: print(error.name)"
    assert run("python", "-P", "-c", code) == "open_clip.hf_model"


def test_the_users_sitecustomize_runs_too(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.was_here = True")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert run("python", "-c", "print(was_here)", env=env) == "True"


def test_starting_imports_nothing_else():
    code = "import sys; print([m for m in ('registry_core', 'pydantic', 'torch') if m in sys.modules])"
    assert ran("-c", code, env=environment()) == "[]"


def test_the_exit_status_is_that_of_the_program(tmp_path):
    (tmp_path / "program.py").write_text("raise SystemExit(7)")
    assert main(["run", str(tmp_path / "program.py")]) == 7


def test_a_signal_gives_the_exit_status_of_a_shell(tmp_path):
    (tmp_path / "program.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)")
    assert main(["run", str(tmp_path / "program.py")]) == 143


def test_a_command_that_does_not_exist_is_an_error(capsys):
    assert main(["run", "no-such-program"]) == 1
    assert "there is no command 'no-such-program'" in capsys.readouterr().err


def test_in_the_current_process():
    code = f"from registry_core.compat import stand_in_for_open_clip as go\ngo(); go()\n{LOOK}"
    assert ran("-P", "-c", code) == LAYER


@pytest.mark.parity
def test_too_late_in_the_current_process():
    pytest.importorskip("open_clip")
    code = """
import open_clip
from registry_core import RegistryError
from registry_core.compat import stand_in_for_open_clip
try: stand_in_for_open_clip()
except RegistryError as error: print(error.name, error)
import open_clip.factory
print(open_clip.factory.__name__)
"""
    lines = ran("-P", "-W", "ignore", "-c", code).splitlines()
    assert lines[0].startswith("open_clip The package open_clip has already been imported")
    assert lines[1] == "open_clip.factory"


def test_the_folder_contains_nothing_that_hides_a_module():
    from registry_core.compat import stand_in

    folder = Path(stand_in.__file__).parent
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"__init__.py", "sitecustomize.py"}
