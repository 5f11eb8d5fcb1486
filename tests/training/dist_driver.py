"""What two processes on the CPU do, launched by torchrun; the first one writes what it found as JSON."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from training_nets import RECIPE, SETTINGS, few_digits, irb_nano, plain

from hmhsa_insert.blocks import BLOCKS
from hmhsa_insert.blocks.types.activations import ACTIVATION_TYPES
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.training import train
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.transforms import eval_transform
from hmhsa_insert.training.evaluation import evaluate_split
from hmhsa_insert.training.loader import EvalLoader
from hmhsa_insert.training.loop import updates as loop
from hmhsa_insert.training.settings import load_settings

REPLACED = {"tdb": 2, "downsample": 4}  # and the way into which stage
# No draws and no BatchNorm: what is left must not depend on the number of processes.
CALM: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 40,
    "input_size": 32,
    "optimizer": {"lr": 1e-2, "name": "sgd", "weight_decay": 0.0},
    "augment": {"scale": [0.8, 1.0], "crop_pct": 1.0},
    "regularize": {"dropout": 0.0},
    "compute": {"device": "cpu"},
}
SPECS: dict[str, dict[str, Any]] = {
    "hmhsa": {"head_dim": 4},
    "hmhsa_pooled": {"head_dim": 4, "grid_size": 2, "pool": 2},
    "mhsa": {"head_dim": 4},
    "transformer": {"head_dim": 4},
    "irb": {},
    "tdb": {},
    "downsample": {},
    "transcnn": {"head_dim": 4, "grid_size": 2, "pool": 2},
    "placebo": {"of": {"type": "mhsa", "head_dim": 4}},
    "matched": {"of": {"type": "mhsa", "head_dim": 4}},
    **{f"timm/{name}": {} for name in ("se", "eca", "cbam", "gc", "coord", "sk", "splat", "lambda")},
}


def calm_run(folder: Path) -> None:
    train("training_nets:irb_nano_group", few_digits(), settings=CALM, folder=folder)


def count_evaluation(data: Data) -> dict[str, Any]:
    """Evaluate 61 images, which two processes cannot halve, with a network of fixed weights."""
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(5)
    model = plain()
    transform = eval_transform(load_settings(CALM), model, 1)
    rank, world = accelerator.process_index, accelerator.num_processes
    loader = EvalLoader(data.val, transform, 1, 16, rank, world, workers=0)
    found = evaluate_split(model, loader, data.classes, accelerator)
    return {
        "indices": found.indices.tolist(),
        "predicted": found.predicted.tolist(),
        "loss": found.loss,
        "confusion": found.confusion.tolist(),
    }


def unused_parameters() -> list[str]:
    """Take two DDP steps with every block spliced in; DDP fails at the second if a parameter got no gradient."""
    edits: list[dict[str, Any]] = []
    for number, (kind, options) in enumerate(SPECS.items()):
        where = {"op": "insert", "at": {"stage": 3}}
        if kind in REPLACED:
            where = {"op": "replace", "at": {"downsample": REPLACED[kind]}}
        edits.append({"id": f"new{number}", "block": {"type": kind, **options}, **where})
    model = apply(irb_nano(in_chans=1), {"version": 1, "edits": edits}, (1, 32, 32))
    wrapped = DistributedDataParallel(model)
    try:
        for _ in range(2):
            wrapped(torch.randn(2, 1, 32, 32)).sum().backward()
    except RuntimeError as error:
        return [str(error)]
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


def sharded_step() -> dict[str, float]:
    """Compare one update of a spliced network under FSDP with the same one without."""
    torch.manual_seed(1)
    images, targets = torch.randn(8, 1, 32, 32), torch.randint(0, 10, (8,))
    whole, shards = (apply(irb_nano(in_chans=1), RECIPE, (1, 32, 32)).eval() for _ in range(2))
    shards.load_state_dict(whole.state_dict())
    fully_shard(shards)
    held = sum(cast(DTensor, parameter).to_local().numel() for parameter in shards.parameters())
    outputs, weights = [], []
    for model in (whole, shards):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(2):  # in the first one gamma is 0, and nothing flows into the block
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            optimizer.step()
        weights.append({name: _whole(parameter) for name, parameter in model.named_parameters()})
        outputs.append(model(images).detach())
    one, other = weights
    return {
        "outputs": float((outputs[0] - outputs[1]).abs().max()),
        "weights": max(float((one[name] - other[name]).abs().max()) for name in one),
        "gamma": max(float(other[name].abs().max()) for name in other if name.endswith("gamma")),
        "share": held / sum(tensor.numel() for tensor in one.values()),
    }


def _whole(parameter: torch.Tensor) -> torch.Tensor:
    tensor = parameter.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def seeds_of(run: Callable[[], None]) -> list[int]:
    """Return the seeds of the updates of this process's part of a run."""
    seeds: list[int] = []
    seed_all = loop.seed_all

    def noted(seed: int, device: torch.device) -> None:
        seeds.append(seed)
        seed_all(seed, device)

    loop.seed_all = noted
    run()
    loop.seed_all = seed_all
    return seeds


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    found = {
        "evaluation": count_evaluation(few_digits(val=61)),
        "blocks": sorted(name for name in BLOCKS if BLOCKS[name] not in ACTIVATION_TYPES),
        "unused": unused_parameters(),
        "fsdp": sharded_step(),
    }
    drawn: list[Any] = [None, None]
    dist.all_gather_object(drawn, seeds_of(lambda: calm_run(folder / "two")))
    found["seeds"] = drawn
    settings = SETTINGS | {"epochs": 2, "batch_size": 40}
    train(
        "training_nets:irb_nano", few_digits(), recipe=RECIPE, settings=settings, folder=folder / "everything"
    )
    if dist.get_rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
