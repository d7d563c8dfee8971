"""A hub on the loopback device, and the model card of a saved folder.

The hub answers the part of the HTTP API that pushing a model and creating it again need.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import pytest
import torch
from markdown_it import MarkdownIt

from registry_core import LocalFile, Weights, hookimpl

TOKEN = "hf_of_the_tests"  # noqa: S105 - opens nothing but this server


@dataclass
class Repository:
    """Branch -> [(commit, {path: bytes})], the newest last."""

    private: bool | None = None
    branches: dict[str, list] = field(default_factory=lambda: {"main": [("0" * 40, {".gitattributes": b"*"})]})
    messages: list[str] = field(default_factory=list)

    def at(self, revision):
        """(commit, files) of a branch or commit; None if it does not exist."""
        for name, commits in self.branches.items():
            for commit, files in reversed(commits):
                if revision in {name, commit}:
                    return commit, files
        return None

    @property
    def files(self):
        return self.branches["main"][-1][1]


class Hub:
    """The server; `refuse` maps the beginning of a "METHOD path" to the status that answers it."""

    def __init__(self):
        self.repositories, self.objects, self.asked, self.refuse, self.before = {}, {}, [], {}, {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self)

            do_HEAD, do_POST, do_PUT = do_GET, do_GET, do_GET  # noqa: N815 - names of http.server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request):
        path = unquote(urlsplit(request.path).path)
        body = self.body_of(request)
        line = f"{request.command} {path}"
        self.asked.append(line)
        for start, act in self.before.items():
            if line.startswith(start):
                act()
        status = next((status for start, status in self.refuse.items() if line.startswith(start)), None)
        if status is None and request.command not in {"GET", "HEAD"} and not path.startswith("/lfs/"):
            status = None if request.headers.get("Authorization") == f"Bearer {TOKEN}" else 401
        if status is not None:
            return self.reply(request, status, {"error": f"refused with {status}"})
        return self.reply(request, *self.route(request.command, path, body, urlsplit(request.path).query))

    def body_of(self, request):
        if request.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(request.rfile.readline(), 16):
                data += request.rfile.read(size)
                request.rfile.readline()
            request.rfile.readline()
            return data
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))

    def reply(self, request, status, data, headers=()):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def route(self, method, path, body, query):
        """(status, data[, headers]) of a request."""
        parts = path.strip("/").split("/")
        if parts[0] == "lfs":
            return self.store(parts[1], body)
        if parts[:2] == ["api", "models"]:
            repo, (action, revision) = "/".join(parts[2:4]), (parts[4:6] or ("revision", "main"))
            return self.of_repository(repo, action, revision, body, query)
        if parts[2:3] == ["resolve"]:
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.fixed(path, json.loads(body)) if body else (404, {"error": f"{method} {path}"})

    def fixed(self, path, asked):
        """The addresses that take JSON."""
        if path == "/api/repos/create":
            return self.create(asked)
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self.offer(one) for one in asked["objects"]]}
        return 200 if path == "/api/validate-yaml" else 404, {"errors": [], "warnings": []}

    def create(self, asked):
        repo = f"{asked['organization']}/{asked['name']}"
        data = {"url": f"{self.url}/{repo}", "id": repo}
        if repo in self.repositories:
            return 409, {**data, "error": "You already created this model repo"}
        visibility = asked.get("visibility")
        private = asked.get("private", visibility == "private" if visibility else None)
        self.repositories[repo] = Repository(private)
        return 200, data

    def offer(self, wanted):
        oid = wanted["oid"]
        if oid in self.objects:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.url}/lfs/{oid}"}}}

    def store(self, oid, body):
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "other bytes than announced"}
        self.objects[oid] = body
        return 200, {}

    def of_repository(self, repo, action, revision, body, query):
        held = self.repositories.get(repo)
        if held is None:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        found = held.at(revision)
        if found is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        commit, files = found
        if action == "revision":
            return 200, {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        if action == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in names}
            return 200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]}
        return self.commit(repo, revision, body, "create_pr" in query)

    def commit(self, repo, revision, body, create_pr):
        held = self.repositories[repo]
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        commit, files = held.at(revision)
        if header.get("parentCommit", commit) != commit:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = dict(files)
        for line in lines[1:]:
            value = line["value"]
            small = line["key"] == "file"
            files[value["path"]] = base64.b64decode(value["content"]) if small else self.objects[value["oid"]]
        new = hashlib.sha1(body).hexdigest()  # noqa: S324 - a name, as git gives them
        branch = f"refs/pr/{len(held.branches)}" if create_pr else revision
        held.branches.setdefault(branch, []).append((new, files))
        held.messages.append(header["summary"])
        request = f"{self.url}/{repo}/discussions/1" if create_pr else None
        url = f"{self.url}/{repo}/commit/{new}"
        return 200, {"success": True, "commitUrl": url, "commitOid": new, "pullRequestUrl": request}

    def resolve(self, repo, revision, name):
        held = self.repositories.get(repo)
        found = held.at(revision) if held else None
        if found is None or name not in found[1]:
            code = "EntryNotFound" if found else "RevisionNotFound" if held else "RepoNotFound"
            return 404, {"error": "no"}, {"X-Error-Code": code}
        commit, files = found
        digest = hashlib.sha256(files[name]).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Content-Type": "application/octet-stream"}
        if digest in self.objects:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(files[name]))}
        return 200, files[name], headers


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The running server, with HF_ENDPOINT set to it and HF_TOKEN to a valid token."""
    hub = Hub()
    thread = threading.Thread(target=hub.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield hub
    hub.http.shutdown()
    hub.http.server_close()
    thread.join()


@pytest.fixture
def plain_uploads(monkeypatch):
    """Plain HTTP uploads, as with HF_HUB_DISABLE_XET=1; huggingface_hub reads that variable only when imported."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@dataclass
class Card:
    """A model card, as readers of YAML and Markdown see it."""

    text: str

    @property
    def front(self):
        return pytest.importorskip("yaml").safe_load(self.text.split("---\n")[1])

    @property
    def facts(self):
        """The table: label -> value."""
        tokens = MarkdownIt().enable("table").parse(self.text)
        cells = [inline for cell, inline in pairwise(tokens) if cell.type == "td_open"]
        shown = ["".join(child.content for child in cell.children) for cell in cells]
        return dict(zip(shown[::2], shown[1::2], strict=True))

    @property
    def changes(self):
        return re.findall(r"(?m)^- (.*)$", self.text.partition("## Changes during loading")[2])


@pytest.fixture(scope="session")
def parse_card():
    """parse_card(text) -> Card."""
    return Card


@pytest.fixture
def saved_card(small, tmp_path):
    """saved_card(model) -> the Card that is saved with a model, into a subfolder of tmp_path."""

    def saved_card(model, folder="x"):
        return Card((small.save(model, tmp_path / folder) / "README.md").read_text(encoding="utf-8"))

    return saved_card


@pytest.fixture
def tagged(small, source, tmp_path):
    """tagged(licence) -> `small`, created from a tag of that licence."""
    torch.save(source.state_dict(), tmp_path / "tagged.pt")

    class Tags:
        licence = ""

        @hookimpl
        def list_pretrained(self):
            return [("small", "mine")]

        @hookimpl
        def resolve_pretrained(self, name, tag):
            found = Weights((LocalFile(tmp_path / "tagged.pt"),), tag, {"quick_gelu": True}, licence=self.licence)
            return found if (name, tag) == ("small", "mine") else None

    tags = Tags()
    small.register(tags, "tags")

    def create(licence, **options):
        tags.licence = licence
        return small.create("small", "mine", **options)

    return create
