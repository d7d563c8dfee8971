"""Many processes, and processes that are killed."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from registry_core import Url, Weights
from registry_core.fetch import fetch, parts
from registry_core.fetch.lock import one_at_a_time

MB = 1 << 20
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture(params=[(8, 6), pytest.param((100, 16), marks=pytest.mark.large)])
def load(request, body_of):
    """A file, and how many processes want it."""
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
    def test_send_for_one_body(self, server, folder, files, load):
        body, count = load
        children = [start(folder, server.add("/w.pt", body, pause=0.005)) for _ in range(count)]
        for child in children:
            out, err = child.communicate(timeout=300)
            assert (out.split()[-1:], err) == ([hashlib.sha256(body).hexdigest()], "")
        assert server.sent["/w.pt"] == len(body)
        assert len(server.requests) == 1
        assert files(folder) == ["w.pt", "w.pt.record"]

    def test_are_right_where_every_lock_is_a_lie(self, server, folder, files, load):
        body, count = load
        url = server.add("/w.pt", body, pause=0.005)
        children = [start(folder, url, "nolock") for _ in range(count)]
        for child in children:
            out, err = child.communicate(timeout=300)
            assert (out.split()[-1:], err) == ([hashlib.sha256(body).hexdigest()], "")
        assert server.sent["/w.pt"] > len(body)  # there was more than one, or the test shows nothing
        assert files(folder) == ["w.pt", "w.pt.record"]


def wait_for_bytes(child, folder, least):
    """Until a part has grown to a size, or the process has ended."""
    while child.poll() is None:
        with suppress(OSError):  # parts come and go
            if max((part.stat().st_size for part in folder.rglob("*.part")), default=0) >= least:
                return
        time.sleep(0.001)


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.large)])
def test_killed_at_any_point(server, body_of, files, context, rounds):
    """After each kill the final file is not there or right, and the next call finishes, from where it was if it can."""
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
        place = next(iter(Path(folder).rglob(f"w{number}.pt")), None)
        assert place is None or place.read_bytes() == body
        left = max((part.stat().st_size for part in Path(folder).rglob("*.part")), default=0)
        asked = len(server.requests)
        server.pages[path].pause = 0.0
        assert fetch(Weights((Url(url),)), {}, context).path.read_bytes() == body
        ranges = server.ranges()[asked:]
        if left and place is None:
            # All there: no request, unless the kill came between the note's end and the last move.
            assert ranges in (([], [None]) if left == len(body) else ([f"bytes={left}-"],))
            resumed += 1
    names = {f"w{number}.pt{end}" for number in range(rounds) for end in ("", ".record")}
    assert set(files(folder)) == names
    assert kills > rounds // 2
    assert resumed > rounds // 4


class TestLock:
    def test_nobody_waits_for_a_process_that_makes_no_progress(self, tmp_path):
        path = tmp_path / "w.pt"
        with one_at_a_time(path, done=lambda: False, stall=60):
            started = time.monotonic()
            with one_at_a_time(path, done=lambda: False, stall=0.7):
                assert 0.6 < time.monotonic() - started < 20

    def test_a_process_that_makes_progress_is_waited_for(self, tmp_path):
        path = tmp_path / "w.pt"
        code = (
            "import sys, time; from pathlib import Path; from registry_core.fetch.lock import one_at_a_time\n"
            "path = Path(sys.argv[1])\n"
            "with one_at_a_time(path, done=lambda: False, stall=60):\n"
            "    print('held', flush=True)\n"
            "    for size in range(20):\n"
            "        path.with_name('w.pt.0-0-0.part').write_bytes(bytes(size)); time.sleep(0.1)\n"
        )
        child = subprocess.Popen([sys.executable, "-P", "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "held\n"
        started = time.monotonic()
        with one_at_a_time(path, done=lambda: False, stall=0.9):
            assert time.monotonic() - started > 1.5
        child.communicate()

    def test_who_waits_goes_on_as_soon_as_the_file_is_there(self, tmp_path):
        path = tmp_path / "w.pt"
        with one_at_a_time(path, done=lambda: False, stall=60), one_at_a_time(path, done=lambda: True, stall=60):
            pass

    def test_a_folder_without_locks_is_no_obstacle(self):
        with one_at_a_time(Path("/proc/nowhere/w.pt"), done=lambda: False, stall=60):
            pass

    def test_leaves_nothing(self, tmp_path):
        with one_at_a_time(tmp_path / "w.pt", done=lambda: False, stall=60):
            pass
        assert list(tmp_path.iterdir()) == []


class TestLeftParts:
    @pytest.fixture
    def left(self, server, body_of, context):
        """A good part that another machine's process left, and its URL and body."""
        body = body_of(3 * MB)
        url = server.add("/w.pt", body)
        place = fetch(Weights((Url(url),)), {}, context).path
        place.unlink()
        part = place.with_name("w.pt.0123abcd-77-89abcdef.part")
        part.write_bytes(body[: 2 * MB])
        parts._write_note(part, parts.Note(url, '"v1"', len(body)))
        return part

    def test_of_another_machine_are_left_alone_while_they_may_live(self, left, server, context):
        fetch(Weights((Url(server.url + "/w.pt"),)), {}, context)
        assert server.ranges()[-1] is None
        assert left.exists()

    def test_of_another_machine_are_taken_over_when_nobody_touched_them_for_long(self, left, server, context, files):
        os.utime(left, (time.time() - 1000,) * 2)
        fetch(Weights((Url(server.url + "/w.pt"),)), {}, context)
        assert server.ranges()[-1] == f"bytes={2 * MB}-"
        assert files(context.folder) == ["w.pt", "w.pt.record"]

    def test_with_spoilt_bytes_are_found_out_and_fetched_anew(self, left, server, context, body_of):
        body = body_of(3 * MB)
        left.write_bytes(bytes(2 * MB))
        os.utime(left, (time.time() - 1000,) * 2)
        source = Url(server.url + "/w.pt", hashlib.sha256(body).hexdigest())
        assert fetch(Weights((source,)), {}, context).path.read_bytes() == body
        assert server.ranges()[-2:] == [f"bytes={2 * MB}-", None]

    def test_that_are_complete_need_no_request(self, left, server, context, body_of):
        body = body_of(3 * MB)
        left.write_bytes(body)
        os.utime(left, (time.time() - 1000,) * 2)
        asked = len(server.requests)
        assert fetch(Weights((Url(server.url + "/w.pt"),)), {}, context).path.read_bytes() == body
        assert len(server.requests) == asked

    def test_with_a_note_that_cannot_be_read_are_cleared_away(self, left, server, context, files):
        parts.note_path(left).write_text("{")
        for path in (left, parts.note_path(left)):
            os.utime(path, (time.time() - 1000,) * 2)
        fetch(Weights((Url(server.url + "/w.pt"),)), {}, context)
        assert server.ranges()[-1] is None
        assert files(context.folder) == ["w.pt", "w.pt.record"]


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


def test_a_file_is_written_once_and_never_read_again(server, folder, body_of):
    """Its hash is taken on the way: the process opens the file for writing, and no other time."""
    code = (
        "import sys; from pathlib import Path; from registry_core import Url, Weights\n"
        "from registry_core.fetch import FetchContext, fetch\n"
        "opened = []\n"
        "def note(event, arguments):\n"
        "    if event == 'open' and '/w.pt' in str(arguments[0]): opened.append(Path(str(arguments[0])).suffix)\n"
        "sys.addaudithook(note)\n"
        "fetch(Weights((Url(sys.argv[2]),)), {}, FetchContext(Path(sys.argv[1])))\n"
        "print(sorted(set(opened) - {'.lock', '.note', '.record'}), opened.count('.part'))"
    )
    url = server.add("/w.pt", body_of(3 * MB))
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder), url], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['.part'] 1"
