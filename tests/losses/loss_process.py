"""One of several processes that train together: loss_process.py RANK PROCESSES FILE RESULTS CHAPTER ...."""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta

import loss_cases as cases
import loss_models as models
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from registry_core import RegistryError


def compare(rank, world_size):
    """Each loss of both libraries on this process's rows."""
    theirs = cases.theirs()
    found = {}
    for kind, options in cases.CASES:
        inputs = cases.part(cases.features(kind, world_size), rank, world_size)
        loss = cases.make(cases.OURS, kind, options, rank, world_size)
        found["ours", kind, *options.values()] = cases.run(loss, inputs)
        if theirs is not None:
            with warnings.catch_warnings():  # about collectives that open_clip uses and torch has deprecated
                warnings.simplefilter("ignore")
                loss = cases.make(theirs, kind, options, rank, world_size)
                found["theirs", kind, *options.values()] = cases.run(loss, inputs)
    return found


def train(rank, world_size):
    """Gradients of tiny models under DistributedDataParallel, with the loss that the registry returns for them."""
    registry = models.registry()
    found = {}
    for kind in models.TEXTS:
        for options in cases.EXCHANGES if kind == "siglip" else cases.GATHERINGS:
            model = models.create(registry, kind)
            loss = registry.loss(model, rank=rank, world_size=world_size, **options)
            images, texts = (tensor.chunk(world_size)[rank] for tensor in models.batch(kind, world_size))
            found["ddp", kind, *options.values()] = models.gradients(
                DistributedDataParallel(model), loss, images, texts
            )
    return found


def uneven(rank, world_size):
    """The caption loss of processes with different numbers of tokens."""
    inputs = cases.features("coca", world_size)
    inputs["labels"][: cases.ROWS, 1:] = 3
    loss = cases.make(cases.OURS, "coca", {"gather_with_grad": True}, rank, world_size)
    return {"uneven": cases.run(loss, cases.part(inputs, rank, world_size))}


def second(rank, world_size):
    """Gradients of a gradient, through each way of exchange."""
    found = {}
    for kind, options in [("clip", {"gather_with_grad": True}), *(("siglip", each) for each in cases.EXCHANGES)]:
        inputs = cases.part(cases.features(kind, world_size), rank, world_size)
        leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
        loss = cases.make(cases.OURS, kind, options, rank, world_size)(*leaves.values())
        (first,) = torch.autograd.grad(loss, leaves["text_features"], create_graph=True)
        found["second", kind, *options.values()] = torch.autograd.grad(first.square().sum(), leaves["text_features"])[0]
    return found


def mistakes(rank, world_size):
    """The error of a loss that was made for another rank than that of this process."""
    inputs = cases.part(cases.features("clip", world_size), rank, world_size)
    try:
        cases.make(cases.OURS, "clip", {}, (rank + 1) % world_size, world_size)(*inputs.values())
    except RegistryError as error:
        return {"mistaken rank": str(error)}
    return {"mistaken rank": "no error"}


CHAPTERS = {"compare": compare, "train": train, "uneven": uneven, "second": second, "mistakes": mistakes}


def main(rank, world_size, file, results, *chapters):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    found = {}
    for chapter in chapters:
        found |= CHAPTERS[chapter](rank, world_size)
    torch.save(found, results)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
