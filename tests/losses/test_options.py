"""LossOptions: from keyword arguments to the arguments of a loss."""

from __future__ import annotations

import numpy as np
import pytest

from registry_core import InputError, LossOptions, OverrideError
from registry_core.losses.options import check_dist_impl, check_processes


class TestFields:
    def test_other_arguments_go_into_further(self):
        options = LossOptions.of({"rank": 1, "world_size": 2, "dist_impl": "shift", "pad_id": 3})
        assert options == LossOptions(1, 2, dist_impl="shift", further={"pad_id": 3})

    @pytest.mark.parametrize("missing", [None, ""])
    def test_no_dist_impl_is_the_first(self, missing):
        assert LossOptions.of({"dist_impl": missing}).dist_impl == "bidir"

    def test_the_arguments_of_a_contrastive_loss(self):
        assert LossOptions(1, 2).contrastive() == {
            "rank": 1,
            "world_size": 2,
            "local_loss": False,
            "gather_with_grad": False,
            "cache_labels": False,
        }


DEFAULTS = {"share": 0.5, "times": 2, "deep": False, "way": "mean", "weights": None}


class TestOwnArguments:
    def test_override_the_defaults(self):
        good = {"share": 1, "times": 3, "deep": True, "way": "sum", "weights": [1, 2]}
        assert LossOptions(further=good).own("A loss", **DEFAULTS) == good
        own = LossOptions(further={"weights": True}).own("A loss", **DEFAULTS)
        assert own == {**DEFAULTS, "weights": True}

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("share", True, "a number"),
            ("share", "1", "a number"),
            ("times", 1.0, "a whole number"),
            ("times", True, "a whole number"),
            ("deep", 1, "True or False"),
            ("way", 3, "a string"),
        ],
    )
    def test_have_the_type_of_the_default(self, key, value, expected):
        with pytest.raises(OverrideError) as caught:
            LossOptions(further={key: value}).own("A loss", **DEFAULTS)
        assert (caught.value.argument, caught.value.expected, caught.value.found) == (key, expected, value)

    def test_the_error_names_the_type(self):
        with pytest.raises(OverrideError, match=r"times=1\.0: A loss expects a whole number\. No loss was made"):
            LossOptions(further={"times": 1.0}).own("A loss", **DEFAULTS)

    def test_that_the_loss_does_not_have_are_refused(self):
        options = LossOptions(further={"tims": 1})
        with pytest.raises(
            OverrideError, match=r"tims= is not an arg.* Did you mean times\? A loss's own are share, times"
        ):
            options.own("A loss", **DEFAULTS)
        with pytest.raises(
            OverrideError, match=r"tims= is not an arg.* The loss has none of its own\. No loss was made"
        ):
            options.own("The loss")


class TestProcesses:
    @pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2), (np.int64(2), np.int64(3))])
    def test_that_exist(self, rank, world_size):
        check_processes(rank, world_size)

    @pytest.mark.parametrize(
        ("rank", "world_size"), [(2, 2), (-1, 2), (0, 0), (1, 1), ("0", 2), (0.0, 2), (0, 2.0), (None, 1)]
    )
    def test_that_do_not_exist(self, rank, world_size):
        with pytest.raises(InputError) as caught:
            check_processes(rank, world_size)
        assert (caught.value.argument, caught.value.found) == ("rank", (rank, world_size))

    def test_the_error_gives_both_numbers(self):
        with pytest.raises(InputError, match=r"rank='0' and world_size=2 do not go together.*get_rank"):
            check_processes("0", 2)


def test_an_unknown_exchange():
    with pytest.raises(InputError, match=r"dist_impl='gathr' is unknown\. Did you mean gather\?.*bidir, shift"):
        check_dist_impl("gathr")
