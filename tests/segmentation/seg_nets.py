"""A segmenter small enough to train in a test, with every source of chance on; its data, made once."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from hmhsa_insert.detection import make_shapes as shapes
from hmhsa_insert.tasks.semantic import Semantic
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.run import train_run

BACKBONE = "timm/test_resnet"
RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "nano",
    "edits": [{"op": "insert", "id": "attn", "at": {"stage": 3}, "block": {"type": "hmhsa", "head_dim": 32}}],
}
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 4,
    "accumulate": 2,
    "checkpoint_steps": 1,
    "input_size": 48,
    "optimizer": {"lr": 2e-3, "clip_norm": 5.0},
    "schedule": {"warmup_epochs": 0.5},
    "ema": {"decay": 0.9, "warmup": True},
    "segmenter": {"channels": 16},
    "augment": {"scale": [0.5, 1.5], "color": 0.5, "most_of_one": 0.9},
    "compute": {"device": "cpu"},
    "loader": {"workers": 0},
}


def planned(data: Any, **changes: Any) -> Semantic:
    settings = SETTINGS | changes.pop("settings", {})
    run: Semantic = plan_run(BACKBONE, str(data), task="semantic", settings=settings, **changes)
    return run


def train(data: Any, folder: Path, **changes: Any) -> Any:
    return train_run(planned(data, **changes), folder)


def make(folder: Path, images: int = 10) -> Path:
    shapes.make_shapes(folder, images=images, size=64, seed=3)
    return folder


def main(data: Path, folder: Path, decoder: str, updates: int, channels: int = 16) -> None:
    """Train, and die by SIGKILL at the end of so many updates; 0: never."""
    torch.set_num_threads(1)
    original, done = Loop._close_update, 0

    def counted(self: Loop) -> None:
        nonlocal done
        done += 1
        original(self)
        if done == updates:
            os.kill(os.getpid(), signal.SIGKILL)

    Loop._close_update = counted  # type: ignore[method-assign]
    train(data, folder, recipe=RECIPE, decoder=decoder, settings={"segmenter": {"channels": channels}})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
