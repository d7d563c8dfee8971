"""No code in a file is ever run: a hostile pickle is refused with the name that it asks for, and leaves no trace."""

from __future__ import annotations

import os
import pickle
import subprocess
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch

from registry_core import CheckpointError, UnsafeCheckpointError
from registry_core.checkpoint import unpickle


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
        "builtins.getattr": Calls(getattr, "text", "upper"),  # a module cannot be pickled
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(marker)]),
        "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch))),
        "torch.load": Calls(torch.load, str(marker)),
    }


NAMES = tuple(hostile("x"))


# The names that a pickle of protocol 2 uses.
PICKLED_NAMES = {
    "builtins.eval": "__builtin__.eval",
    "builtins.exec": "__builtin__.exec",
    "builtins.getattr": "__builtin__.getattr",
    "builtins.open": "io.open",
    "subprocess.Popen": "commands.Popen",
    "torch.load": "torch.serialization.load",
}


def zip_with(path, data, root="archive"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", data)
    return path


class TestHostilePicklesAreRefused:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("legacy", [False, True])
    def test_next_to_the_state_dict(self, small, save, tmp_path, name, legacy):
        marker = tmp_path / "ran"
        contents = {"state_dict": {"logit_scale": torch.ones(())}, "extra": hostile(marker)[name]}
        path = save(contents, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", path)
        assert not marker.exists()
        assert caught.value.path == path
        # torch reports the name that a legacy file asks for in another form.
        expected = name.rpartition(".")[2] if legacy else PICKLED_NAMES.get(name, name)
        assert (caught.value.name.rpartition(".")[2] if legacy else caught.value.name) == expected

    @pytest.mark.parametrize(
        ("legacy", "kind"),
        [
            (False, r"asks for `posix\.system` in its pickle, which a checkpoint of plain tensors never does\."),
            (
                True,
                r"is a legacy torch file \(before .* that holds more than tensors: its pickle asks for `.*system`\.",
            ),
        ],
    )
    def test_with_a_message_that_does_not_recommend_to_run_it(self, small, save, tmp_path, legacy, kind):
        contents = {"extra": hostile(tmp_path / "ran")["posix.system"]}
        path = save(contents, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(
            UnsafeCheckpointError,
            match=rf"{kind} Loading it would run code that the file contains\. Nothing was run and nothing was "
            r"loaded\. If you trust its author, open it where it was made and save only `model\.state_dict\(\)`",
        ) as caught:
            small.create("small", path)
        assert str(caught.value).startswith(f"{path} ")
        assert "weights_only" not in str(caught.value)

    def test_as_a_parameter_of_the_state_dict(self, small, state, save, tmp_path):
        state["logit_scale"] = Calls(os.system, f"touch {tmp_path / 'ran'}")
        with pytest.raises(UnsafeCheckpointError, match=r"asks for `posix\.system`"):
            small.create("small", save(state))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("legacy", [False, True])
    def test_a_whole_model(self, small, source, save, legacy):
        path = save(source, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", path)
        assert caught.value.name == "registry_plugins.openai_clip.model.CLIP"

    @pytest.mark.parametrize(
        ("module", "name"),
        [("collections", "abc.sys.modules"), ("torch", "FloatStorage.__reduce__"), ("os", "system")],
    )
    def test_a_dotted_name_reaches_nothing(self, small, tmp_path, module, name):
        """STACK_GLOBAL follows dots, through which a pickle could leave an allowed module."""
        marker = tmp_path / "ran"
        data = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        data += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"
        data += b"\x8c" + bytes([len(str(marker))]) + str(marker).encode() + b"\x85R."
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", zip_with(tmp_path / "x.pt", data))
        assert caught.value.name == f"{module}.{name}"
        assert not marker.exists()

    def test_extension_codes(self, tmp_path, small):
        with pytest.raises(CheckpointError, match="its contents could not be read"):
            small.create("small", zip_with(tmp_path / "x.pt", b"\x80\x02\x82\x01."))

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_a_bare_pickle(self, small, tmp_path, protocol):
        (tmp_path / "x.pt").write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'ran'}"), protocol))
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", tmp_path / "x.pt")
        assert caught.value.found == "a bare pickle, not written by torch.save"
        assert not (tmp_path / "ran").exists()

    def test_script_classes_are_only_names(self):
        """A TorchScript class of any name becomes an attribute holder, and a REDUCE of it makes nothing else."""
        data = b"\x80\x02c__torch__.os\nsystem\n)\x81}X\x01\x00\x00\x00aK\x01sb."
        found = unpickle.read_pickle(data, "a file")
        assert found.attributes == {"a": 1}
        assert found.class_name == "__torch__.os.system"


class TestOneFileCannotReachTheNext:
    """BUILD sets attributes of a stand-in, which must not be the stand-in that the next file gets."""

    @pytest.mark.parametrize(
        "poison",
        [
            b"\x80\x02ctorch\nFloatStorage\n](X\x00\x00\x00\x00X\x04\x00\x00\x00int8K\x00eb.",
            b"\x80\x02ctorch\nfloat32\n](X\x04\x00\x00\x00int8eb.",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xs\x86b.",
            b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x01\x00\x00\x00aK\x01sb.",
            b"\x80\x02c__torch__.A\nB\nN}X\x0a\x00\x00\x00class_nameX\x01\x00\x00\x00xs\x86b.",
            b"\x80\x02ccollections\nOrderedDict\nN}X\x04\x00\x00\x00keysX\x01\x00\x00\x00xs\x86b.",
        ],
        ids=["storage", "dtype", "slot state", "function attribute", "script class", "builtin type"],
    )
    def test_after_a_poisoned_file_a_good_one_reads_right(self, small, write, tmp_path, poison, assert_holds):
        before = stand_ins()
        with pytest.raises(CheckpointError):
            small.create("small", zip_with(tmp_path / "poison.pt", poison))
        assert stand_ins() == before
        assert_holds(small.create("small", write("torch")))


def stand_ins():
    """Return the stand-in of each allowed name, as deep as a pickle could change it."""
    return {
        key: (repr(value), getattr(value, "__name__", ""), dict(getattr(value, "__dict__", {})))
        for key, value in [*unpickle._ALLOWED.items(), (("__torch__", "any"), unpickle.ScriptObject)]
        if not isinstance(value, type) or value is unpickle.ScriptObject
    }


class TestContentOfTrainingCheckpoints:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize(
        "extra",
        [
            Counter([3, 3, 5]), b"bytes\xff", {"betas": (0.9, 0.98)}, {1, 2}, torch.Size([1, 2]), torch.float16,
            torch.device("cpu"), OrderedDict(a=[None, True, 2**70, 1.5, "text"]), torch.nn.Parameter(torch.ones(2)),
            torch.get_rng_state(),
        ],
        ids=lambda extra: type(extra).__name__,
    )  # fmt: skip
    def test_next_to_the_state_dict_is_read(self, small, source, save, extra, protocol):
        path = save({"state_dict": source.state_dict(), "extra": extra}, pickle_protocol=protocol)
        assert torch.equal(small.create("small", path).visual.proj, source.visual.proj)

    def test_parameters_kept_as_parameters(self, small, source, save, assert_holds):
        assert_holds(small.create("small", save(source.state_dict(keep_vars=True))))


def test_the_files_here_would_really_run(tmp_path):
    """A refusal proves something only if Python's own unpickler creates the marker."""
    for name in ("posix.system", "builtins.exec", "pickle.loads"):
        pickle.loads(pickle.dumps(hostile(tmp_path / "ran")[name], 2))
        assert (tmp_path / "ran").exists(), name
        (tmp_path / "ran").unlink()


class TestNumbersInTheFile:
    """Sizes and keys in a pickle are not trusted."""

    def test_a_memo_index_allocates_nothing(self):
        index = (0x7FFFFFFF).to_bytes(4, "little")
        assert unpickle.read_pickle(b"\x80\x02Nr" + index + b".", "file.pt") is None

    @pytest.mark.parametrize("shape", [b"}%sNs.", b"(%sNd.", b"ccollections\nOrderedDict\n)R%sNs."])
    def test_a_deeply_nested_key_is_not_hashed(self, shape):
        nested = b")" + b"\x85" * 200_000  # tuples of tuples: hashing them would overflow the stack of the process
        with pytest.raises(pickle.UnpicklingError, match="a mapping has a tuple as key, expected a string or a number"):
            unpickle.read_pickle(b"\x80\x02" + shape % nested, "file.pt")

    def test_sets_are_read_as_lists(self):
        assert unpickle.read_pickle(b"\x80\x04\x8f(K\x01\x90.", "file.pt") == [1]
        assert unpickle.read_pickle(b"\x80\x04(K\x01K\x02\x91.", "file.pt") == [1, 2]
