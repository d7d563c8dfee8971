"""A training program under torchrun, two processes with gloo, started by `registry-core run`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.parity

TRAIN = """
import sys, torch, open_clip
from torch.nn.parallel import DistributedDataParallel

path, out = sys.argv[1:]
torch.distributed.init_process_group("gloo")
rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
model = open_clip.create_model("little-vit", pretrained=path)
model.set_grad_checkpointing()
both = DistributedDataParallel(model)
loss = open_clip.ClipLoss(local_loss=True, gather_with_grad=True, cache_labels=True, rank=rank, world_size=size)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
tokenizer = open_clip.get_tokenizer("little-vit")
images = torch.load(sys.argv[1] + ".images")
for step in range(3):
    mine = range(rank * 2, rank * 2 + 2)
    value = loss(*both(images[step, list(mine)], tokenizer([f"image {step} {row}" for row in mine])))
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
if rank == 0:
    torch.save((type(model).__module__, model.state_dict()), out)
torch.distributed.destroy_process_group()
"""


def trained_by_open_clip(open_clip, path, images):
    """The same three steps in one process, with the batches joined."""
    model = open_clip.create_model("little-vit", pretrained=str(path))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step, batch in enumerate(images):
        texts = open_clip.tokenize([f"image {step} {row}" for row in range(4)])
        optimizer.zero_grad()
        open_clip.ClipLoss()(*model(batch, texts)).backward()
        optimizer.step()
    return model.state_dict()


def test_gives_the_same_weights_as_open_clip(theirs, configs, weights, tmp_path):
    torch.manual_seed(5)
    images, path = torch.randn(3, 4, 3, 32, 32), tmp_path / "little-vit.pt"
    path.write_bytes((weights / "little-vit.pt").read_bytes())
    torch.save(images, f"{path}.images")
    (tmp_path / "train.py").write_text(TRAIN)
    command = [
        sys.executable, "-P", "-m", "registry_core", "run", "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", "2", str(tmp_path / "train.py"), str(path), str(tmp_path / "out.pt"),
    ]  # fmt: skip
    environment = {**os.environ, "REGISTRY_CORE_CONFIG_PATH": str(configs), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    module, ours = torch.load(tmp_path / "out.pt")
    assert module.startswith("registry_plugins.")
    expected = trained_by_open_clip(theirs, path, images)
    before = torch.load(path)
    assert not torch.allclose(ours["visual.proj"], before["visual.proj"], atol=1e-4)
    for name, value in expected.items():
        torch.testing.assert_close(ours[name], value, atol=5e-6, rtol=1e-4)
