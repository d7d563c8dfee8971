"""Objects next to the tensors never refuse a file, and are never constructed."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import os
import pathlib
import pickle

import numpy as np
import pytest
import torch

from registry_core import StateDictError, UnsafeCheckpointError


class Calls:
    """An object that is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


EXTRAS = {
    "numpy scalar": np.float64(0.7),
    "numpy array": np.arange(3),
    "namespace": argparse.Namespace(lr=1e-4),
    "path": pathlib.PurePosixPath("/x"),
    "date": dt.datetime(2026, 1, 1),  # noqa: DTZ001 - a naive one, as programs write
    "complex": 1j,
    "decimal": decimal.Decimal("1.5"),
    "frozenset": frozenset([1, 2]),
    "counter": collections.Counter("aab"),
    "defaultdict": collections.defaultdict(list, {1: [2]}),
    "bytes": b"bytes\xff",
    "mapping": {"betas": (0.9, 0.98)},
    "tuple keys": {(1, "a"): 2, 1.5: 3, None: 4},
    "size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "generator state": torch.get_rng_state(),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "sparse": torch.eye(3).to_sparse(),
    "module": torch.nn.Linear(2, 2),
    "optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1),
    "system": Calls(os.system, "false"),
}


class TestExtrasNeverRefuseAFile:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("name", EXTRAS)
    @pytest.mark.filterwarnings("ignore")
    def test_next_to_the_state_dict(self, small, source, save, assert_holds, name, legacy):  # noqa: PLR0917
        path = save(
            {"state_dict": source.state_dict(), "extra": EXTRAS[name]}, _use_new_zipfile_serialization=not legacy
        )
        assert_holds(small.create("small", path))

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_in_every_protocol(self, small, source, save, assert_holds, protocol):
        extras = {key: EXTRAS[key] for key in ("numpy scalar", "namespace", "path", "date", "complex", "frozenset")}
        assert_holds(small.create("small", save({"model": source.state_dict(), **extras}, pickle_protocol=protocol)))

    def test_among_the_tensors_they_are_named_in_the_report(self, small, state, save):
        report = small.report(small.create("small", save({**state, "args": argparse.Namespace(), "epoch": 3})))
        assert "entries that are not tensors were skipped: epoch" in report.notes
        unread = "objects that are neither tensors nor plain values were not read: args (argparse.Namespace)"
        assert unread in report.notes

    def test_next_to_the_state_dict_they_are_named_in_the_report(self, small, source, save):
        path = save({"model": source.state_dict(), "x": Calls(os.system, "false"), "best": np.float64(0.7)})
        (note,) = [note for note in small.report(small.create("small", path)).notes if "not read" in note]
        assert "x (posix.system), best (numpy" in note

    def test_alone_they_are_an_error_that_names_the_first(self, small, save):
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", save({"a": Calls(os.system, "false"), "epoch": 3}))
        assert caught.value.name == "posix.system"

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (Calls(os.system, "false"), "posix.system"),
            (torch.ones(1).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        ],
        ids=["call", "sparse"],
    )
    def test_in_the_place_of_a_parameter_they_are_an_error(self, small, state, save, value, kind):
        state["logit_scale"] = value
        path = save(state)
        with pytest.raises(
            UnsafeCheckpointError, match=f"holds logit_scale as an object of {kind}, not as a"
        ) as caught:
            small.create("small", path)
        assert (caught.value.path, caught.value.name) == (path, kind)
        assert isinstance(caught.value.__cause__, StateDictError)

    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("key", [None, "model"])
    @pytest.mark.filterwarnings("ignore")
    def test_a_whole_model_is_an_error_that_names_its_class(self, small, source, save, legacy, key):
        path = save(source if key is None else {key: source}, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(
            UnsafeCheckpointError,
            match=r"holds a pickled object of registry_plugins\.openai_clip\.model\.CLIP, and no state dict\. .*"
            r"Nothing was run and nothing was loaded\. If you trust its author, open it where it was made and save "
            r"only `model\.state_dict\(\)`",
        ) as caught:
            small.create("small", path)
        assert caught.value.name == "registry_plugins.openai_clip.model.CLIP"
        assert "weights_only" not in str(caught.value)

    def test_a_bare_pickle_stays_refused(self, small, tmp_path):
        (tmp_path / "x.pt").write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'ran'}")))
        with pytest.raises(UnsafeCheckpointError) as caught:
            small.create("small", tmp_path / "x.pt")
        assert caught.value.found == "a bare pickle, not written by torch.save"
        assert not (tmp_path / "ran").exists()
