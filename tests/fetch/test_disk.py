"""Full disks, folders that cannot be written, and read-only caches. With real file systems."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

import pytest

from registry_core import FetchError, Url, Weights
from registry_core.fetch import fetch

MB = 1 << 20
UNSHARE = shutil.which("unshare")


def can_mount():
    return UNSHARE and not subprocess.run([UNSHARE, "-rm", "true"], capture_output=True, check=False).returncode


needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")

FETCH = """
import sys
from pathlib import Path
from registry_core import FetchError, Url, Weights
from registry_core.fetch import FetchContext, fetch
folder, *urls = sys.argv[1:]
for url in urls:
    try:
        print(fetch(Weights((Url(url),)), {}, FetchContext(Path(folder))).path.name)
    except FetchError as error:
        print(error)
print(sorted(path.name for path in Path(folder).rglob("*") if path.is_file()))
"""


def run_mounted(mount, folder, *urls):
    """Fetch in a separate mount namespace, after a mount command on the folder."""
    command = f'{mount} && exec "$0" -P -c "$1" "$2" "${{@:3}}"'
    arguments = [UNSHARE, "-rm", "bash", "-c", command, sys.executable, FETCH, str(folder), *urls]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


@needs_mounts
class TestFullDisk:
    def test_is_detected_before_anything_is_written(self, server, body_of, folder):
        folder.mkdir()
        url = server.add("/w.pt", body_of(3 * MB))
        *output, left = run_mounted(f"mount -t tmpfs -o size=2m none {folder}", folder, url)
        assert "failed: 3,145,728 more bytes are needed, but" in output[0]
        assert "registry-core cache list" in output[0]
        assert left == "[]"

    def test_during_the_download_leaves_nothing(self, server, body_of, folder):
        folder.mkdir()
        url = server.add(
            "/w.pt", body_of(3 * MB), chunked=True
        )  # of unknown length: the space cannot be checked before
        *output, left = run_mounted(f"mount -t tmpfs -o size=2m none {folder}", folder, url)
        assert "No space left on device. The partial file was removed to free its space. Free some space" in output[0]
        assert "REGISTRY_CORE_CACHE" in output[0]
        assert left == "[]"


@needs_mounts
def test_a_read_only_cache_serves_what_it_has(server, body_of, context):
    url, other = server.add("/w.pt", body_of(1000)), server.add("/other.pt", body_of(1000))
    path = fetch(Weights((Url(url),)), {}, context).path
    os.utime(path, (1, 1))  # as after a copy: the hash is computed, and the new time cannot be recorded
    folder = context.folder
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    served, refused, left = run_mounted(mount, folder, url, other)
    assert served == "w.pt"
    assert "could not be written to" in refused
    assert "Read-only file system. Choose another folder with cache_dir= or REGISTRY_CORE_CACHE" in refused
    assert left == "['w.pt', 'w.pt.record']"


def test_a_limit_on_the_size_of_files_is_a_full_disk(server, body_of, folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (MB, MB))

    url = server.add("/w.pt", body_of(3 * MB))
    done = subprocess.run(
        [sys.executable, "-P", "-c", FETCH, str(folder), url],
        capture_output=True, text=True, check=True, preexec_fn=limit,
    )  # fmt: skip
    output, left = done.stdout.splitlines()
    assert "File too large. The partial file was removed" in output
    assert left == "[]"


def test_a_folder_that_cannot_be_created(server, body_of, context, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    url = server.add("/w.pt", body_of(10))
    with pytest.raises(
        FetchError, match=r"/w\.pt could not be written to .*: .*Choose another folder with cache_dir="
    ) as caught:
        fetch(Weights((Url(url),)), {}, context)
    assert caught.value.url == url
    assert caught.value.path.is_relative_to(tmp_path / "cache")
