"""Pickles are read as data: nothing in a file is imported or called, and nothing costs more than the file."""

from __future__ import annotations

import argparse
import copyreg
import functools
import io
import os
import pickle
import subprocess
import time
import zipfile
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core import CheckpointError
from registry_core.checkpoint.pickle_reader import read_pickle
from registry_core.checkpoint.pickle_values import Inert, PickleError, ScriptObject


class Calls:
    """An object that is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    """Return objects whose unpickling would create the marker file, by the name that each pickle asks for."""
    touch = f"touch {marker}"
    return {
        "posix.system": Calls(os.system, touch),
        "builtins.eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.exec": Calls(exec, f"open({str(marker)!r}, 'w').close()"),
        "builtins.open": Calls(open, str(marker), "w"),
        "builtins.getattr": Calls(getattr, "text", "upper"),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(marker)]),
        "functools.partial": Calls(functools.partial, os.system, touch),
        "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch))),
        "torch.load": Calls(torch.load, str(marker)),
    }


NAMES = tuple(hostile("x"))


def read(data):
    return read_pickle(data, lambda ref: ref)[0]


def zip_with(path, data, root="archive"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", data)
    return path


def global_(name):
    module, _, leaf = name.rpartition(".")
    return f"c{module}\n{leaf}\n".encode()


class TestNothingRuns:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("protocol", range(6))
    def test_of_a_call(self, tmp_path, name, protocol):
        marker = tmp_path / "ran"
        data = pickle.dumps({"state": [hostile(marker)[name]]}, protocol)
        found = read(data)
        assert type(found["state"][0]) is Inert
        assert not marker.exists()

    def test_and_the_files_here_would_really_run(self, tmp_path):
        """That nothing runs proves something only if Python's own unpickler creates the marker."""
        for name in ("posix.system", "builtins.exec", "pickle.loads"):
            pickle.loads(pickle.dumps(hostile(tmp_path / "ran")[name], 2))
            assert (tmp_path / "ran").exists(), name
            (tmp_path / "ran").unlink()

    @pytest.mark.parametrize(
        "data",
        [
            global_("posix.system") + b"(S'touch MARKER'\ntR.",
            b"(S'touch MARKER'\niposix\nsystem\n.",  # INST
            b"(" + global_("posix.system") + b"S'touch MARKER'\no.",  # OBJ
            global_("posix.system") + b"(S'touch MARKER'\nt\x81.",  # NEWOBJ
            global_("posix.system") + b"(S'touch MARKER'\nt}\x92.",  # NEWOBJ_EX
            b"\x8c\x05posix\x8c\x06system\x93(S'touch MARKER'\ntR.",  # STACK_GLOBAL
            b"\x8c\x0bcollections\x8c\x18OrderedDict.__class__.xy\x93)R.",  # dots in a name
            global_("torch._utils._rebuild_parameter") + global_("posix.system") + b"(S'touch MARKER'\ntR\x88}\x87R.",
            global_("collections.defaultdict") + global_("posix.system") + b"\x85R.",
            global_("builtins.list") + b")R}(S'__class__'\n" + global_("posix.system") + b"ub.",  # BUILD
            global_("torch._tensor._rebuild_from_type_v2")
            + global_("posix.system") + b"N(S'touch MARKER'\ntNtR.",
        ],
        ids=lambda data: data[:24].decode("latin-1").replace("\n", " "),
    )  # fmt: skip
    def test_of_any_way_to_a_callable(self, tmp_path, data):
        marker = tmp_path / "ran"
        with suppress(PickleError):
            read(data.replace(b"MARKER", str(marker).encode()))
        assert not marker.exists()

    def test_of_an_extension_code_that_the_process_has_registered(self):
        copyreg.add_extension("posix", "system", 240)
        try:
            with pytest.raises(PickleError, match="it uses extension codes, which no checkpoint needs"):
                read(b"\x80\x02\x82\xf0X\x01\x00\x00\x00a\x85R.")
        finally:
            copyreg.remove_extension("posix", "system", 240)

    def test_of_a_state_for_what_is_not_a_script_module(self):
        """BUILD used to reach `functools.partial.__setstate__`, which could make an object hold itself."""
        loop = b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x00(h\x00)}Ntbh\x00)R."
        with pytest.raises(PickleError):
            read(loop)
        poisoned = b"\x80\x02ccollections\nOrderedDict\n)R}X\x04\x00\x00\x00keysX\x01\x00\x00\x00xsb."
        assert read(poisoned) == {}

    def test_script_classes_are_only_names(self):
        found = read(b"\x80\x02c__torch__.os\nsystem\n)\x81}X\x01\x00\x00\x00aK\x01sb.")
        assert type(found) is ScriptObject
        assert (found.class_name, found.attributes) == ("__torch__.os.system", {"a": 1})


class TestNothingCostsMoreThanTheFile:
    def within(self, seconds, data):
        start = time.perf_counter()
        try:
            return read(data)
        except PickleError:
            return None
        finally:
            assert time.perf_counter() - start < seconds

    @pytest.mark.parametrize("make", [b"](h%ch%ce\x94", b"}(K\x00h%cK\x01h%cu\x94", b"(h%ch%ct\x94", b"h%ch%c\x86\x94"])
    def test_containers_that_hold_the_one_before_twice(self, make, tmp_path, small):
        data = b"\x80\x04]\x94" + b"".join(make % (i, i) for i in range(60)) + b"."
        self.within(2, data)
        with pytest.raises(CheckpointError):
            small.create("small", zip_with(tmp_path / "x.pt", data))

    @pytest.mark.parametrize(
        "data",
        [
            b")" + b"\x85" * 500_000 + b".",
            b"(" * 500_000 + b"t" * 500_000 + b".",
            b"]" * 500_000 + b"a" * 499_999 + b".",
            b"}" + b")" + b"\x85" * 300_000 + b"Ns.",  # a deep tuple as a key
            b"c__torch__.A\nB\n)\x81" * 1 + b"}(" + b")" + b"\x85" * 300_000 + b"Nub.",
            b"(X\x07\x00\x00\x00storage)" + b"\x85" * 300_000 + b"NNNtQ.",  # a deep tuple in a persistent id
            b"()" + b"\x85" * 300_000 + b"NNNNtQ.",
        ],
        ids=["tuples", "marks", "lists", "key", "script state", "storage class", "storage kind"],
    )
    def test_depth(self, data, tmp_path, small):
        self.within(10, data)
        with pytest.raises(CheckpointError):
            small.create("small", zip_with(tmp_path / "x.pt", data))

    def test_copies_that_are_asked_for_again_and_again(self):
        pairs = b"(" + b"K\x01K\x02\x86" * 100_000 + b"l\x94"
        for name in (b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n", b"ctorch.jit._pickle\nbuild_intlist\n"):
            self.within(5, pairs + (name + b"h\x00\x85R0") * 50_000 + b"N.")
        self.within(
            5, b"X\x40\x0d\x03\x00" + b"a" * 200_000 + b"\x94" + b"c_codecs\nencode\nh\x00\x85R0" * 50_000 + b"N."
        )

    def test_numbers_that_would_collide_as_keys(self):
        keys = b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(1, 30_000))
        found = self.within(5, b"}(" + keys + b"u.")
        assert len(found) == 29_999

    @pytest.mark.parametrize(
        "data",
        [
            b"\x96" + b"\xff" * 8, b"\x8e" + b"\xff" * 7 + b"\x7f", b"X\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f",
            b"B\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"\x95" + b"\xff" * 8 + b"N",
            b"I" + b"9" * 100_000 + b"\n.", b"r\xff\xff\xff\xff", b"Nr\xff\xff\xff\x7f",
        ],
        ids=["bytearray", "bytes8", "text", "long", "bytes", "text8", "frame", "digits", "put nothing", "put"],
    )  # fmt: skip
    def test_sizes_and_numbers_are_not_believed(self, data):
        assert self.within(1, data) is None

    def test_a_list_of_members_without_an_end(self, tmp_path, small):
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02c__torch__.A\nB\n)\x81}b.")
            archive.writestr("a/code/__torch__/A.py", "class B:\n" + "__parameters__=[" * 400_000)
        start = time.perf_counter()
        with pytest.raises(CheckpointError):
            small.create("small", path)
        assert time.perf_counter() - start < 5

    def test_modules_that_hold_themselves_or_the_one_before_twice(self, tmp_path, small):
        opened = b"\x80\x04" + b"c__torch__.A\nB\n)\x81\x94"
        doubled = b"".join(
            b"c__torch__.A\nB\n)\x81}(\x8c\x01ah%c\x8c\x01bh%cub\x94" % (i, i) for i in range(60)
        )  # fmt: skip
        cycle = b"}\x8c\x01ah\x00sb"
        for data in (opened + doubled + b".", opened + cycle + b"."):
            with pytest.raises(CheckpointError, match="nested or shared without end"):
                small.create("small", zip_with(tmp_path / "x.pt", data))

    @pytest.mark.parametrize("record", ["data.pkl", "byteorder"])
    def test_a_record_that_is_packed_to_nothing(self, small, tmp_path, record):
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}.")
            archive.writestr(f"a/{record}" if record != "data.pkl" else "a/other", b"")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in {"data.pkl", record}:
                archive.writestr(f"a/{name}", b"\0" * (20 << 20) if name == record else b"\x80\x02}.")
        with pytest.raises(CheckpointError, match=r"claims 20,971,520 bytes, at most 16,777,216 are read") as caught:
            small.create("small", path)
        assert caught.value.name == f"a/{record}"


class TestValues:
    plain = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.integers(-(2**40), 2**40), inner) | st.tuples(inner, inner)
        ),
        max_leaves=30,
    )  # fmt: skip

    @given(value=plain, protocol=st.integers(0, 5))
    @settings(max_examples=300, deadline=None)
    def test_plain_ones_are_as_python_reads_them(self, value, protocol):
        data = pickle.dumps(value, protocol)
        if protocol < 3 and contains_bytes(value):  # these protocols write bytes as a call of another name
            return
        assert read(data) == value

    @given(data=st.binary(max_size=200))
    @settings(max_examples=2000, deadline=None)
    def test_any_bytes_end_in_a_value_or_an_error(self, data):
        with suppress(PickleError):
            read(data)

    @given(data=st.data())
    @settings(max_examples=500, deadline=None)
    def test_any_change_of_a_checkpoints_pickle_ends_in_a_value_or_an_error(self, data):
        changed = bytearray(SAVED)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        with suppress(PickleError):
            read(bytes(changed))

    @pytest.mark.parametrize("legacy", [False, True])
    def test_lazily_negated_and_conjugated_views_are_as_torch_reads_them(self, tmp_path, legacy):
        from registry_core.checkpoint.file import CheckpointFile
        from registry_core.checkpoint.recognise import read_index

        x = torch.randn(4, 3, dtype=torch.complex64)
        saved = {"neg": x.conj().imag, "conj": x.conj(), "part": x.conj().imag[1:, :2], "plain": x.imag}
        assert saved["neg"].is_neg()
        assert saved["conj"].is_conj()
        for name, tensor in saved.items():  # one by one: torch refuses views of one storage with two dtypes
            torch.save({name: tensor}, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
            with CheckpointFile(tmp_path / "x.pt") as file:
                found = read_index(file).tensors[name].load()
            assert torch.equal(found, torch.load(tmp_path / "x.pt")[name].resolve_neg().resolve_conj()), name

    def test_a_view_that_repeats_an_element_beyond_the_file_is_refused(self, small, save):
        path = save({"logit_scale": torch.zeros(1).expand(10**9, 32)})
        assert path.stat().st_size < 10_000
        with pytest.raises(CheckpointError, match="repeats 4 bytes until they are 128,000,000,000") as caught:
            small.create("small", path)
        assert caught.value.found == (10**9, 32)

    def test_a_small_view_that_repeats_is_read(self, tmp_path):
        from registry_core.checkpoint.file import CheckpointFile
        from registry_core.checkpoint.recognise import read_index

        torch.save({"x": torch.arange(3).expand(5, 3), "y": torch.ones(2)}, tmp_path / "x.pt")
        with CheckpointFile(tmp_path / "x.pt") as file:
            assert read_index(file).tensors["x"].load().tolist() == [[0, 1, 2]] * 5

    def test_a_parameter_with_attributes_of_its_own(self, small, source, save, assert_holds):
        state = source.state_dict(keep_vars=True)
        state["logit_scale"].note = "an attribute makes torch write another call"
        assert_holds(small.create("small", save(state)))


def contains_bytes(value):
    if isinstance(value, dict):
        return any(map(contains_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, (list, tuple)) and any(map(contains_bytes, value)))


def saved_pickle():
    stream = io.BytesIO()
    state = {f"layers.{i}.weight": torch.zeros(2, 3) for i in range(4)}
    torch.save({"state_dict": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, stream)
    with zipfile.ZipFile(stream) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


SAVED = saved_pickle()
