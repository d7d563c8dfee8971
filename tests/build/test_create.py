"""From a name to a finished model: what is fetched, compared and written, and how often."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from registry_core import IntegrityError, OverrideError, Url, Weights, hookimpl
from registry_core.fetch.contract import Fetched


class Counted:
    """A source whose fetcher counts its calls."""

    scheme = "counted"


@pytest.fixture
def fetches(registry, tiny_checkpoint):
    """Give `tiny` a tag "counted", and return the list of the fetches of its file."""
    found = []

    class Plugin:
        @hookimpl
        def list_pretrained(self):
            return [("tiny", "counted")]

        @hookimpl
        def resolve_pretrained(self, name, tag):
            return Weights((Counted(),), tag) if (name, tag) == ("tiny", "counted") else None

        @hookimpl
        def fetchers(self):
            def fetch(source, context):
                found.append(source)
                return Fetched(tiny_checkpoint)

            return {"counted": fetch}

    registry.register(Plugin(), "counting")
    return found


def test_offline_fetches_once(registry, fetches, monkeypatch):
    monkeypatch.setenv("REGISTRY_CORE_OFFLINE", "1")
    registry.create("tiny", "counted")
    assert len(fetches) == 1


def test_online_fetches_once(registry, fetches):
    registry.create("tiny", "counted")
    assert len(fetches) == 1


def test_a_wrong_device_is_refused_before_the_download(registry, fetches):
    with pytest.raises(OverrideError) as caught:
        registry.create("tiny", "counted", device="nowhere")
    assert caught.value.argument == "device"
    assert fetches == []


class TestHashOfTheFile:
    @pytest.fixture
    def hashed(self, monkeypatch):
        """Return the list of the files that are hashed."""
        found, digest = [], hashlib.file_digest

        def noted(file, name):
            found.append(file.name)
            return digest(file, name)

        monkeypatch.setattr(hashlib, "file_digest", noted)
        return found

    @pytest.fixture
    def tagged(self, registry):
        """tagged(digits) gives `tiny` a tag "t" whose file has a SHA-256 that starts with these digits."""

        def tagged(digits):
            class Plugin:
                @hookimpl
                def list_pretrained(self):
                    return [("tiny", "t")]

                @hookimpl
                def resolve_pretrained(self, name, tag):
                    return (
                        Weights((Url("https://example.invalid/t.pt", digits),), tag)
                        if (name, tag) == ("tiny", "t")
                        else None
                    )

            registry.register(Plugin())

        return tagged

    @pytest.mark.parametrize("offline", ["", "1"])
    def test_weights_of_compares_it_once(self, registry, tagged, tiny_checkpoint, hashed, monkeypatch, offline):  # noqa: PLR0917
        monkeypatch.setenv("REGISTRY_CORE_OFFLINE", offline)
        tagged(hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()[:8])
        model = registry.create("tiny", tiny_checkpoint, weights_of="t")
        assert hashed == [str(tiny_checkpoint)]
        assert any("by its SHA-256" in note for note in registry.report(model).notes)

    def test_is_compared_before_the_model_is_built(self, registry, tagged, tiny_checkpoint, hashed, monkeypatch):
        def refuse(*_):
            raise AssertionError("a model was built")

        monkeypatch.setattr(registry.services, "build", refuse)
        tagged("00000000")
        with pytest.raises(IntegrityError) as caught:
            registry.create("tiny", tiny_checkpoint, weights_of="t")
        assert (caught.value.path, caught.value.expected) == (tiny_checkpoint, "00000000")
        assert len(hashed) == 1

    @pytest.mark.parametrize("mmap", [False, True])
    def test_a_path_without_weights_of_is_never_hashed(self, registry, tagged, tiny_checkpoint, hashed, mmap):
        tagged("00000000")
        registry.create("tiny", tiny_checkpoint, mmap=mmap)
        assert hashed == []


class TestValues:
    @pytest.mark.parametrize("name", ["tiny", "tiny-rn"])
    def test_with_random_values_equals_the_plain_module(self, registry, name):
        """create() draws no other random values than the constructor of the module."""
        torch.manual_seed(5)
        created = registry.create(name, pretrained=False).state_dict()
        torch.manual_seed(5)
        plain = registry.services.build(registry.config(name), None).state_dict()
        assert created.keys() == plain.keys()
        for key, tensor in plain.items():
            assert torch.equal(created[key], tensor), key
            assert torch.isfinite(tensor).all()

    def test_a_shell_has_every_name_and_no_memory(self, registry):
        shell, real = registry.create("daclip_tiny", device="meta"), registry.create("daclip_tiny", pretrained=False)
        assert {n: (t.shape, t.dtype) for n, t in shell.state_dict().items()} == {
            n: (t.shape, t.dtype) for n, t in real.state_dict().items()
        }
        assert all(tensor.is_meta for tensor in (*shell.parameters(), *shell.buffers()))


@pytest.mark.parametrize("name", ["tiny", "tiny-rn", "daclip_tiny"])
def test_creating_a_native_model_loads_no_compiler(registry, tmp_path, name):
    """Random fills on the meta device would import torch._dynamo and sympy, which takes a second."""
    checkpoint = tmp_path / "x.pt"
    torch.save(registry.create(name, pretrained=False).state_dict(), checkpoint)
    base = name.removeprefix("daclip_")
    program = (
        "import json, sys\nfrom registry_core import Registry\n"
        "registry = Registry()\n"
        f"registry.add_config(json.loads(sys.argv[1]), {base!r})\n"
        f"for arguments in ({{'device': 'meta'}}, {{'pretrained': sys.argv[2]}}, {{'pretrained': False}}):\n"
        f"    registry.create({name!r}, **arguments)\n"
        "    print([name for name in ('torch._dynamo', 'sympy', 'torch._inductor') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, json.dumps(registry.config(base).raw()), str(checkpoint)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n[]\n[]\n", "")
