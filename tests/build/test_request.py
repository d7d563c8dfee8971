"""A request that cannot be carried out is refused before anything is built."""

from __future__ import annotations

import pytest

from registry_core import OverrideError


@pytest.fixture(autouse=True)
def _nothing_is_built(registry, monkeypatch):
    def refuse(*_):
        raise AssertionError("a model was built")

    monkeypatch.setattr(registry.services, "build", refuse)


@pytest.fixture
def path(tmp_path):
    """Return a file that exists and is never read."""
    (tmp_path / "any.pt").touch()
    return tmp_path / "any.pt"


def test_an_unknown_tower(registry):
    with pytest.raises(
        OverrideError, match=r"tower='audio': expected 'image', 'text' or None\. Nothing was built\."
    ) as caught:
        registry.create("tiny", False, tower="audio")
    assert (caught.value.argument, caught.value.found) == ("tower", "audio")
    assert caught.value.expected == ("image", "text", None)


def test_an_unknown_precision(registry):
    with pytest.raises(OverrideError) as caught:
        registry.create("tiny", False, precision="fp17")
    assert (caught.value.argument, caught.value.found) == ("precision", "fp17")


@pytest.mark.parametrize("device", ["nowhere", "", "cpu:x"])
def test_an_unknown_device(registry, device):
    with pytest.raises(
        OverrideError, match=rf"device='{device}' cannot be used: [^\n]+\. Nothing was built\."
    ) as caught:
        registry.create("tiny", False, device=device)
    assert (caught.value.argument, caught.value.found) == ("device", device)


def test_an_empty_shell_with_weights(registry, path):
    with pytest.raises(
        OverrideError,
        match=r"device='meta' makes an empty shell, which cannot hold the weights of file .*any\.pt\. Nothing was "
        r"built\. Leave pretrained= out, or choose a real device\.",
    ) as caught:
        registry.create("tiny", path, device="meta")
    assert (caught.value.argument, caught.value.found) == ("device", "meta")


@pytest.mark.parametrize(
    "options", [{"device": "meta"}, {"tower": "text"}, {"tower": "text", "device": "meta"}], ids=str
)
def test_weights_for_a_tower_that_is_not_built(registry, path, options):
    with pytest.raises(
        OverrideError,
        match=r"image_weights= and text_weights= fill a tower, but with device='\w+' and tower='?\w+'? there is no "
        r"such tower\. Nothing was built\.",
    ) as caught:
        registry.create("tiny", image_weights=path, **options)
    assert (caught.value.argument, caught.value.path) == ("image_weights", path)
