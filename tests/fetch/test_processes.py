"""Many processes, and processes that are killed."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from registry_core import Url, Weights
from registry_core.fetch import fetch

MB = 1 << 20
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture(params=[(8, 6), pytest.param((100, 16), marks=pytest.mark.large)])
def load(request, body_of):
    """A file, and the number of processes that fetch it."""
    megabytes, count = request.param
    return body_of(megabytes * MB), count


def start(folder, url, *options):
    return subprocess.Popen(
        [sys.executable, "-P", str(CHILD), str(folder), url, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestManyProcesses:
    def test_download_the_file_once(self, server, folder, files, load):
        body, count = load
        children = [start(folder, server.add("/w.pt", body, pause=0.005)) for _ in range(count)]
        for child in children:
            out, err = child.communicate(timeout=300)
            assert (out.split()[-1:], err) == ([hashlib.sha256(body).hexdigest()], "")
        assert server.sent["/w.pt"] == len(body)
        assert len(server.requests) == 1
        assert files(folder) == ["w.pt", "w.pt.record"]

    def test_get_a_correct_file_if_every_process_gets_the_lock(self, server, folder, files, load):
        body, count = load
        url = server.add("/w.pt", body, pause=0.005)
        children = [start(folder, url, "nolock") for _ in range(count)]
        for child in children:
            out, err = child.communicate(timeout=300)
            assert (out.split()[-1:], err) == ([hashlib.sha256(body).hexdigest()], "")
        assert server.sent["/w.pt"] > len(body)  # more than one process downloaded; otherwise the test proves nothing
        assert files(folder) == ["w.pt", "w.pt.record"]


def wait_for_bytes(child, folder, least):
    """Wait until a partial file has a size, or the process has ended."""
    while child.poll() is None:
        with suppress(OSError):  # partial files appear and disappear
            if max((partial.stat().st_size for partial in folder.rglob("*.part")), default=0) >= least:
                return
        time.sleep(0.001)


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.large)])
def test_killed_at_any_point(server, body_of, files, context, rounds):
    """After each kill the file is absent or correct. The next call completes it, resuming if it can."""
    body, folder = body_of(12 * MB), context.folder
    chance = random.Random(rounds)
    kills = resumed = 0
    for number in range(rounds):
        path = f"/w{number}.pt"
        url = server.add(path, body, pause=0.002, piece=1 << 17)
        child = start(folder, url)
        assert child.stdout.readline() == "ready\n"
        wait_for_bytes(child, Path(folder), chance.uniform(-0.05, 1.02) * len(body))
        time.sleep(chance.uniform(0.0, 0.01))
        child.kill()
        kills += child.wait() == -9
        child.communicate()
        path_in_cache = next(iter(Path(folder).rglob(f"w{number}.pt")), None)
        assert path_in_cache is None or path_in_cache.read_bytes() == body
        left = max((partial.stat().st_size for partial in Path(folder).rglob("*.part")), default=0)
        before = len(server.requests)
        server.pages[path].pause = 0.0
        assert fetch(Weights((Url(url),)), {}, context).path.read_bytes() == body
        ranges = server.ranges()[before:]
        if left and path_in_cache is None:
            # A complete partial file needs no request, unless its metadata was already removed by the commit.
            assert ranges in (([], [None]) if left == len(body) else ([f"bytes={left}-"],))
            resumed += 1
    names = {f"w{number}.pt{end}" for number in range(rounds) for end in ("", ".record")}
    assert set(files(folder)) == names
    assert kills > rounds // 2
    assert resumed > rounds // 4


def test_the_memory_does_not_grow_with_the_file(server, folder, body_of):
    """Peak memory of a process that fetches 2 MB, and of one that fetches 160 MB."""
    code = (
        "import re, sys; from pathlib import Path; from registry_core import Url, Weights\n"
        "from registry_core.fetch import FetchContext, fetch\n"
        "fetch(Weights((Url(sys.argv[2]),)), {}, FetchContext(Path(sys.argv[1])))\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )

    def peak(size):
        url = server.add(f"/w{size}", body_of(2 * MB) * (size // 2), piece=MB)
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(folder), url], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    small, large = peak(2), peak(160)
    assert large - small < 12


def test_a_file_is_written_once_and_not_read_again(server, folder, body_of):
    """The hash is computed during the download: the process opens the file once, for writing."""
    code = (
        "import sys; from pathlib import Path; from registry_core import Url, Weights\n"
        "from registry_core.fetch import FetchContext, fetch\n"
        "opened = []\n"
        "def observe(event, arguments):\n"
        "    if event == 'open' and '/w.pt' in str(arguments[0]): opened.append(Path(str(arguments[0])).suffix)\n"
        "sys.addaudithook(observe)\n"
        "fetch(Weights((Url(sys.argv[2]),)), {}, FetchContext(Path(sys.argv[1])))\n"
        "print(sorted(set(opened) - {'.lock', '.note', '.record'}), opened.count('.part'))"
    )
    url = server.add("/w.pt", body_of(3 * MB))
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder), url], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['.part'] 1"
