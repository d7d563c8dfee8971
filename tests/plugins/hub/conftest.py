"""A saved tiny CLIP, and a hub on this machine that serves folders."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch


@pytest.fixture
def model(registry):
    """`tiny` with values of its own."""
    torch.manual_seed(1)
    return registry.create("tiny", False)


@pytest.fixture
def folder(registry, model, tmp_path):
    """`model`, saved."""
    return registry.save(model, tmp_path / "saved")


@pytest.fixture
def same():
    """Whether two models give the same features, bit for bit."""

    def compare(one, other):
        torch.manual_seed(2)
        size = (2, 3, *one.config.image_size)
        text = torch.randint(1, 600, (2, one.config.text_cfg.context_length))
        pairs = []
        with torch.no_grad():
            if one.tower != "text":
                image = torch.randn(size, dtype=next(one.parameters()).dtype)
                pairs.append((one.encode_image(image), other.encode_image(image)))
            if one.tower != "image":
                pairs.append((one.encode_text(text), other.encode_text(text)))
        return all(torch.equal(left, right) and left.isfinite().all() for left, right in pairs)

    return compare


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """A server at HF_ENDPOINT. `hub.add(folder, repo, revision)` copies a folder to it."""
    root = tmp_path_factory.mktemp("hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(root)))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")

    def add(folder, repo, revision="main"):
        served = root / repo / "resolve" / revision
        shutil.copytree(folder, served)
        return served

    server.add = add
    yield server
    server.shutdown()
    server.server_close()
