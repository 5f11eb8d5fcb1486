"""A detector small enough to train in a test, with every source of chance on; its data, made once."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from hmhsa_insert.detection import make_shapes as shapes
from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.tasks.detect import Detect
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.reporter import Reporter
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
    "optimizer": {"lr": 2e-3, "clip_norm": 5.0},
    "schedule": {"warmup_epochs": 0.5},
    "ema": {"decay": 0.9, "warmup": True},
    "detector": {
        "min_size": 64,
        "max_size": 64,
        "pyramid_channels": 16,
        "anchor_size": 8,
        "group_norm": True,
    },
    "compute": {"device": "cpu"},
    "loader": {"workers": 0},
}
FEW = {f"rpn_{when}_nms_top_n_{mode}": 30 for when in ("pre", "post") for mode in ("train", "test")}


def planned(data: Any, task: Any = "detect", **changes: Any) -> Detect:
    settings = SETTINGS | changes.pop("settings", {})
    if task == "segment":
        options = {**FEW, "box_batch_size_per_image": 16}
        settings = settings | {"detector": settings["detector"] | {"options": options}}
    return plan_detection(BACKBONE, data, task=task, settings=settings, **changes)


def train(
    data: Any, folder: Path, task: Any = "detect", reporter: Reporter | None = None, **changes: Any
) -> Any:
    return train_run(planned(data, task, **changes), folder, reporter)


def make(folder: Path) -> Path:
    shapes.make_shapes(folder, images=10, size=64, seed=3)
    return folder


def main(data: Path, folder: Path, task: str, updates: int) -> None:
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
    train(data, folder, task, recipe=RECIPE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
