"""For any bytes, reading ends in a model or in a CheckpointError: no other exception, and no crash."""

from __future__ import annotations

import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_core import CheckpointError, LazyTensor
from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.recognise import read_index

KINDS = ("safetensors", "torch", "legacy", "script", "training", "npz")
MODERATE = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
PREFIXES = (
    b"", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x02", b"\x80\x04\x95", b"\x10\x00\x00\x00\x00\x00\x00\x00{",
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", b"\xff" * 8 + b"{",
)  # fmt: skip


def outcome(registry, path):
    """Return the model, or None if the file was refused with a CheckpointError."""
    try:
        return registry.create("small", path)
    except CheckpointError:
        return None


@pytest.fixture
def originals(write):
    return {kind: write(kind, kind) for kind in KINDS}  # paths, because a failing example prints its arguments


class TestRandomBytes:
    @MODERATE
    @given(prefix=st.sampled_from(PREFIXES), rest=st.binary(max_size=300))
    def test_of_no_format(self, small, tmp_path, prefix, rest):
        path = tmp_path / "random"
        path.write_bytes(prefix + rest)
        assert outcome(small, path) is None

    @MODERATE
    @given(pickled=st.binary(max_size=60))
    def test_as_the_pickle_of_an_archive(self, small, tmp_path, pickled):
        path = tmp_path / "random"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02" + pickled)
        assert outcome(small, path) is None


PLACE = st.integers(0, 10**6)  # modulo the length of the damaged data
# The structure of a file is at its two ends and, in a zip, before each record; tensors fill the rest.
NEAR = st.one_of(st.integers(0, 4000), st.integers(-4000, -1), PLACE)


@pytest.mark.parametrize("kind", KINDS)
class TestDamagedFiles:
    @MODERATE
    @given(keep=PLACE)
    def test_cut_short(self, small, originals, tmp_path, kind, keep):
        whole = originals[kind].read_bytes()
        path = tmp_path / "cut"
        path.write_bytes(whole[: keep % len(whole)])
        assert outcome(small, path) is None

    @MODERATE
    @given(changes=st.lists(st.tuples(NEAR, st.integers(0, 255)), min_size=1, max_size=4))
    def test_with_bytes_changed(self, small, originals, tmp_path, kind, changes):
        whole = bytearray(originals[kind].read_bytes())
        for place, value in changes:
            whole[place % len(whole)] = value
        path = tmp_path / "changed"
        path.write_bytes(whole)
        model = outcome(small, path)
        assert model is None or all(not tensor.is_meta for tensor in model.state_dict().values())

    @MODERATE
    @given(begin=NEAR, length=st.integers(1, 3000), target=NEAR)
    def test_with_a_piece_moved(self, small, originals, tmp_path, kind, begin, length, target):  # noqa: PLR0917
        whole = originals[kind].read_bytes()
        begin %= len(whole)
        piece, rest = whole[begin : begin + length], whole[:begin] + whole[begin + length :]
        target %= len(rest)
        path = tmp_path / "moved"
        path.write_bytes(rest[:target] + piece + rest[target:])
        outcome(small, path)


@MODERATE
@given(
    place=st.integers(0, 20000),
    value=st.integers(0, 255),
    records=st.sampled_from(["data.pkl", "byteorder"]),
)
def test_a_changed_record_under_a_right_checksum(small, originals, tmp_path, place, value, records):  # noqa: PLR0917
    """The checksum is right, so that the changed pickle itself is read."""
    path = tmp_path / "changed"
    with zipfile.ZipFile(originals["torch"]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = bytearray(old.read(name))
            # The unpickler would allocate as much memory as a memo index of four bytes claims.
            if name.endswith(records) and data[place % len(data)] not in b"qr" and value not in b"r":
                data[place % len(data)] = value
            new.writestr(name, bytes(data))
    outcome(small, path)


@MODERATE
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    strides=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    offset=st.integers(0, 20),
    zipped=st.booleans(),
)
def test_any_view_of_a_storage_reads_as_torch_reads_it(tmp_path, shape, strides, offset, zipped):
    base = torch.arange(400, dtype=torch.float32)
    view = base.as_strided(shape, strides[: len(shape)], offset)
    path = tmp_path / "view.pt"
    torch.save({"view": view, "base": base}, path, _use_new_zipfile_serialization=zipped)
    with CheckpointFile(path) as file:
        found = read_index(file).tensors
        assert all(isinstance(lazy, LazyTensor) for lazy in found.values())
        loaded = found["view"].load()
        assert torch.equal(loaded, view)
        assert loaded.is_contiguous()
        assert loaded.untyped_storage().nbytes() == view.numel() * 4
