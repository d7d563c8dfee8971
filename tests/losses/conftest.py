"""Processes that train together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # modules that the tests share with their processes


@pytest.fixture(scope="session")
def together(tmp_path_factory):
    """together(3, "compare") runs chapters of loss_process.py in processes, and returns the result of each."""

    def run(world_size, *chapters):
        folder = tmp_path_factory.mktemp("together")
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        results = [folder / f"{rank}.pt" for rank in range(world_size)]
        command = [sys.executable, "-P", str(HERE / "loss_process.py")]
        processes = [
            subprocess.Popen(
                [*command, str(rank), str(world_size), str(folder / "meeting"), str(result), *chapters],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank, result in enumerate(results)
        ]
        try:
            outputs = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0] * world_size, "\n".join(outputs)
        return [torch.load(result, weights_only=True) for result in results]

    return run


@pytest.fixture(scope="session")
def two(together):
    """The results of two processes, of all chapters."""
    return together(2, "compare", "train", "uneven", "second", "mistakes")


@pytest.fixture(scope="session")
def four(together):
    """The results of four: the ring has a step in both directions, and a last step in one direction."""
    return together(4, "compare", "second")


@pytest.fixture(scope="session")
def three(together):
    """The results of three: the ring has a step in both directions."""
    return together(3, "compare", "second")
