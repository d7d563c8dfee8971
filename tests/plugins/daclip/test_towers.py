"""One side of a DaCLIP: "image" is both image towers, "text" is CLIP's text side."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from registry_core import BuildError, StateDictError

FILES = ["daclip_tiny_full.pt", "daclip_tiny_clip.pt"]


def is_text(name):
    """Whether a name of a whole DA-CLIP or a plain CLIP belongs to the text side."""
    return name.removeprefix("clip.").split(".")[0] in {
        "transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection",
    }  # fmt: skip


def is_image(name):
    return name.removeprefix("clip.").split(".")[0] in {"visual", "visual_control"}


ABSENT = {"image": is_text, "text": is_image}  # what each tower leaves out


@pytest.fixture(params=FILES)
def path(request, golden):
    return golden / request.param


def test_the_image_side_gives_the_whole_models_outputs(registry, path, image):
    whole, part = registry.create("daclip_tiny", path), registry.create("daclip_tiny", path, tower="image")
    with torch.no_grad():
        torch.testing.assert_close(part.encode_image(image), whole.encode_image(image), atol=0, rtol=0)
        torch.testing.assert_close(
            part.encode_image(image, control=True), whole.encode_image(image, control=True), atol=0, rtol=0
        )
        torch.testing.assert_close(part(image), whole(image), atol=0, rtol=0)


def test_the_text_side_gives_the_whole_models_outputs(registry, path, text):
    whole, part = registry.create("daclip_tiny", path), registry.create("daclip_tiny", path, tower="text")
    pair = torch.cat([text, text], dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(part.encode_text(text), whole.encode_text(text), atol=0, rtol=0)
        torch.testing.assert_close(part(text=pair), whole(text=pair), atol=0, rtol=0)


@pytest.mark.parametrize("tower", ABSENT)
def test_names_are_the_whole_models_without_the_other_side(registry, golden_meta, golden, tower):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower=tower)
    whole = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")
    assert type(part) is type(whole)
    assert set(part.state_dict()) == {name for name in golden_meta["state_dict"] if not ABSENT[tower](name)}


def test_methods_of_the_absent_text_side_name_it(registry, golden, text):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower="image")
    for call in (lambda: part.encode_text(text), lambda: part(text=torch.cat([text, text], dim=-1))):
        with pytest.raises(BuildError) as caught:
            call()
        assert (caught.value.tower, caught.value.found) == ("text", "image")
        assert "tower='text'" in caught.value.advice


def test_methods_of_the_absent_image_side_name_it(registry, golden, image):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower="text")
    for call in (lambda: part.encode_image(image), lambda: part.encode_image(image, control=True), lambda: part(image)):
        with pytest.raises(BuildError) as caught:
            call()
        assert (caught.value.tower, caught.value.found) == ("image", "text")
        assert "tower='image'" in caught.value.advice


def test_the_message_for_the_absent_image_towers(registry, golden, image):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower="text")
    message = r"no image towers: it was created with tower='text'\. Create it without `tower=`, or with tower='image'"
    with pytest.raises(BuildError, match=message):
        part.encode_image(image, control=True)


@pytest.mark.parametrize("tower", ABSENT)
@pytest.mark.parametrize("filename", FILES)
def test_the_other_side_may_be_absent_from_the_file(registry, golden, tmp_path, filename, tower):
    state = torch.load(golden / filename, weights_only=True)
    kept = {name: tensor for name, tensor in state.items() if not ABSENT[tower](name)}
    assert len(kept) < len(state)
    torch.save(kept, tmp_path / "part.pt")
    part = registry.create("daclip_tiny", tmp_path / "part.pt", tower=tower)
    whole = registry.create("daclip_tiny", golden / filename, tower=tower)
    torch.testing.assert_close(dict(part.state_dict()), dict(whole.state_dict()), atol=0, rtol=0)


@pytest.mark.parametrize("tower", ABSENT)
@pytest.mark.parametrize("filename", FILES)
def test_the_other_side_may_have_any_shape_in_the_file(registry, golden, tmp_path, filename, tower):
    state = torch.load(golden / filename, weights_only=True)
    spoilt = {name: torch.zeros(2, 3) if ABSENT[tower](name) else tensor for name, tensor in state.items()}
    torch.save(spoilt, tmp_path / "spoilt.pt")
    part = registry.create("daclip_tiny", tmp_path / "spoilt.pt", tower=tower)
    whole = registry.create("daclip_tiny", golden / filename, tower=tower)
    torch.testing.assert_close(dict(part.state_dict()), dict(whole.state_dict()), atol=0, rtol=0)


@pytest.mark.parametrize("tower", ABSENT)
def test_only_the_sides_own_bytes_are_read(registry, golden, tmp_path, monkeypatch, tower):
    """Each read of the open file is recorded and compared with the positions of the tensors."""
    from registry_core.checkpoint import file as file_module
    from registry_core.checkpoint import read as read_module

    path = tmp_path / "clip.safetensors"
    save_file(torch.load(golden / "daclip_tiny_clip.pt", weights_only=True), path)
    reads = []
    preadv, read_into = read_module.os.preadv, file_module.CheckpointFile.read_into

    def noted_preadv(descriptor, buffers, offset):
        reads.append((offset, offset + sum(len(b) for b in buffers)))
        return preadv(descriptor, buffers, offset)

    def noted_read_into(self, target, offset):
        reads.append((offset, offset + len(target)))
        return read_into(self, target, offset)

    monkeypatch.setattr(read_module.os, "preadv", noted_preadv)
    monkeypatch.setattr(file_module.CheckpointFile, "read_into", noted_read_into)
    registry.create("daclip_tiny", path, tower=tower)

    spans = stored_spans(path)
    head_end = 4096 + int.from_bytes(path.read_bytes()[:8], "little")
    absent = {name: span for name, span in spans.items() if ABSENT[tower](name) and span[0] >= head_end}
    assert len(absent) > 5
    touched = {name for name, (begin, end) in absent.items() for low, high in reads if max(low, begin) < min(high, end)}
    assert not touched
    own = [span for name, span in spans.items() if not ABSENT[tower](name)]
    assert all(any(low <= begin and end <= high for low, high in reads) for begin, end in own)


def stored_spans(path):
    """Name -> first byte and the byte after the last, as the header of the file states."""
    import json

    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    with safe_open(path, "pt") as file:
        assert set(file.keys()) <= set(header)
    return {
        name: tuple(8 + size + offset for offset in entry["data_offsets"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_saved_side_loads_again(registry, golden, tmp_path, tower):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower=tower)
    folder = registry.save(part, tmp_path / "saved")
    again = registry.create("daclip_tiny", folder / "open_clip_model.safetensors", tower=tower)
    torch.testing.assert_close(dict(again.state_dict()), dict(part.state_dict()), atol=0, rtol=0)


def test_a_saved_text_side_is_not_a_whole_model(registry, golden, tmp_path):
    part = registry.create("daclip_tiny", golden / "daclip_tiny_full.pt", tower="text")
    path = registry.save(part, tmp_path / "saved") / "open_clip_model.safetensors"
    with pytest.raises(StateDictError) as caught:
        registry.create("daclip_tiny", path)
    assert any("visual" in name for name in caught.value.missing)
