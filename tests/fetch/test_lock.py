"""One download of a file at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from registry_core.fetch.lock import download_lock


def test_a_process_without_progress_is_not_waited_for(tmp_path):
    path = tmp_path / "w.pt"
    with download_lock(path, done=lambda: False, stall=60):
        started = time.monotonic()
        with download_lock(path, done=lambda: False, stall=0.7):
            assert 0.6 < time.monotonic() - started < 20


def test_a_process_with_progress_is_waited_for(tmp_path):
    path = tmp_path / "w.pt"
    code = (
        "import sys, time; from pathlib import Path; from registry_core.fetch.lock import download_lock\n"
        "path = Path(sys.argv[1])\n"
        "with download_lock(path, done=lambda: False, stall=60):\n"
        "    print('held', flush=True)\n"
        "    for size in range(20):\n"
        "        path.with_name('w.pt.0-0-0.part').write_bytes(bytes(size)); time.sleep(0.1)\n"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    started = time.monotonic()
    with download_lock(path, done=lambda: False, stall=0.9):
        assert time.monotonic() - started > 1.5
    child.communicate()


def test_waiting_ends_when_the_file_exists(tmp_path):
    path = tmp_path / "w.pt"
    with download_lock(path, done=lambda: False, stall=60), download_lock(path, done=lambda: True, stall=60):
        pass


def test_a_folder_without_locks_is_accepted():
    with download_lock(Path("/proc/nowhere/w.pt"), done=lambda: False, stall=60):
        pass


def test_the_lock_file_is_removed(tmp_path):
    with download_lock(tmp_path / "w.pt", done=lambda: False, stall=60):
        pass
    assert list(tmp_path.iterdir()) == []
