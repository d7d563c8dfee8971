"""The command with any encoding, a full or closed output, Ctrl-C, and names that a terminal would obey."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

COMMAND = [sys.executable, "-P", "-m", "registry_core"]


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, timeout=120, **options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding(encoding):
    done = run("list", "ViT-B-32", env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode(encoding).splitlines()
    assert set(lines[1].strip()) == {"─" if encoding == "utf-8" else "-"}
    assert lines[2].split()[0] == "ViT-B-32"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_the_encoding_lacks_are_escaped(encoding):
    done = run("show", "模型", env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 1
    assert b"There is no model '\\u6a21\\u578b'" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "registry-core: the output could not be written: No space left on device"
    ]


def test_a_closed_output_is_no_error():
    shell = f"{sys.executable} -P -m registry_core list >&-"
    done = subprocess.run(shell, shell=True, capture_output=True, check=False)  # noqa: S602 - `>&-` is the shell's
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_stops_is_no_error():
    shell = f"{sys.executable} -P -m registry_core list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", shell], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_is_one_line(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('waiting', flush=True)\ntime.sleep(60)\n")
    info = tmp_path / "slow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[registry_core.plugins]\nslow = slow\n")
    process = subprocess.Popen(
        [*COMMAND, "list"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr.readline() == b"waiting\n"  # what a plugin prints goes to standard error
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, b"", b"registry-core: interrupted\n")


def test_escapes_in_names_are_shown_and_not_obeyed(tmp_path):
    torch.save({"\x1b[31mred\x07": torch.zeros(1)}, tmp_path / "x.pt")
    done = run("create", "ViT-B-32", "--pretrained", str(tmp_path / "x.pt"))
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"\x07" not in done.stderr
    assert rb"\x1b[31mred\x07" in done.stderr
