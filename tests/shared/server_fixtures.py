"""An HTTP server on the loopback device that fails on demand, and an environment without the user's settings."""

from __future__ import annotations

import gzip
import os
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry_core.fetch import FetchContext, Settings

MB = 1 << 20


def body_of(size, seed=1):
    """Return random bytes, so that a wrong order of pieces is noticed."""
    return random.Random(seed).randbytes(size)


@dataclass
class Page:
    """How the server answers for one path. Each request removes the first item of a list; the last item stays.

    Attributes:
        body: Content of the file.
        status: Statuses of the answers.
        headers: Headers to add to the answer; None removes one.
        send: Number of body bytes to send before the connection is closed; None means all.
        hang: Seconds to wait before the body.
        pause: Seconds between two pieces of the body.
        piece: Size of a piece in bytes.
        ranges: Whether Range is served.
        etag: The ETag header, or None.
        chunked: Whether the body is sent in chunks, without a length.
        lengthless: Whether the Content-Length header is left out.
        compressed: Whether the body is compressed with gzip.
        ignore_if_range: Whether Range is served although If-Range does not match.
        before: Called with the number of the request before it is answered.
    """

    body: bytes = b""
    status: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str | None] = field(default_factory=dict)
    send: list[int | None] = field(default_factory=lambda: [None])
    hang: list[float] = field(default_factory=lambda: [0.0])
    pause: float = 0.0
    piece: int = 1 << 18
    ranges: bool = True
    etag: str | None = '"v1"'
    chunked: bool = False
    lengthless: bool = False
    compressed: bool = False
    ignore_if_range: bool = False
    before: object = None

    def next(self, items):
        return items.pop(0) if len(items) > 1 else items[0]


class Server:
    """Paths with their pages. It records (path, headers) of each request, and the body bytes sent for each path."""

    def __init__(self):
        self.pages, self.requests, self.sent = {}, [], {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, address):  # tests kill clients on purpose
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def add(self, path, body=b"", **options):
        """Serve a body and return its URL."""
        self.pages[path] = Page(body, **options)
        return self.url + path

    def ranges(self):
        """Return the Range header of each request."""
        return [headers.get("Range") for _, headers in self.requests]

    def answer(self, handler):
        self.requests.append((handler.path, dict(handler.headers)))
        handler.close_connection = True
        page = self.pages.get(handler.path)
        if page is None:
            return self.plain(handler, 404)
        if page.before is not None:
            page.before(len(self.requests))
        status = page.next(page.status)
        if status != 200:
            return self.plain(handler, status, page.headers)
        start = self.start(handler, page)
        if start is None:
            return self.plain(handler, 416, {"Content-Range": f"bytes */{len(page.body)}"})
        return self.send(handler, page, start)

    def start(self, handler, page):
        """Return the position of the first requested byte, or None if it does not exist."""
        requested = handler.headers.get("Range", "")
        if not page.ranges or not requested.startswith("bytes="):
            return 0
        if not page.ignore_if_range and handler.headers.get("If-Range") not in {None, page.etag}:
            return 0
        start = int(requested.removeprefix("bytes=").rstrip("-"))
        return start if start < len(page.body) else None

    def plain(self, handler, status, headers=()):
        handler.send_response(status)
        # Without this header, a client that follows a redirect could use the connection that is about to be closed.
        for name, value in {"Content-Length": "2", "Connection": "close", **dict(headers)}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"no")

    def send(self, handler, page, start):
        data = page.body[start:]
        headers = {"ETag": page.etag, "Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}
        if page.compressed:
            data = gzip.compress(data, 1)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(data))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(page.body) - 1}/{len(page.body)}"
        if page.chunked:
            headers |= {"Transfer-Encoding": "chunked", "Content-Length": None}
        if page.lengthless:
            headers["Content-Length"] = None
        handler.send_response(206 if start else 200)
        for name, value in {**headers, **page.headers}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        time.sleep(page.next(page.hang))
        most = page.next(page.send)
        self.pieces(handler, page, data if most is None else data[:most], whole=most is None)

    def pieces(self, handler, page, data, whole):
        for offset in range(0, len(data), page.piece):
            piece = data[offset : offset + page.piece]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if page.chunked else piece)
            self.sent[handler.path] = self.sent.get(handler.path, 0) + len(piece)
            if page.pause:
                time.sleep(page.pause)
        if page.chunked and whole:
            handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def no_settings(tmp_path_factory, monkeypatch):
    """Hide the user's settings, Hugging Face's folders and proxies."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(home))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("REGISTRY_CORE_MIRRORS", "REGISTRY_CORE_SETTINGS", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    """The path of an empty cache. The folder does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def context(folder, server):
    """The cache, with short time-outs and delays."""
    return FetchContext(folder, Settings(endpoint=server.url, backoff=0.01, read_timeout=2.0), "tiny tag")


def files(folder):
    """Return the names of all files in a cache."""
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def child_environment(**more):
    return {**os.environ, "PYTHONPATH": "", **more}


@pytest.fixture(name="files")
def _files():
    return files


@pytest.fixture(name="body_of")
def _body_of():
    return body_of


@pytest.fixture(name="free_port")
def _free_port():
    return free_port()
