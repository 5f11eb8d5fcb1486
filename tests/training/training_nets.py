"""Networks small enough to train in a test, with everything that draws: dropout, drop path, BatchNorm."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.models import Network, NetworkConfig
from hmhsa_insert.training.data import Data, open_data
from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.reporter import Silent
from hmhsa_insert.training.run import train

_NANO = NetworkConfig((8, 12, 16, 24), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), "batch", "downsample")
_NANO_GROUP = NetworkConfig((8, 12, 16, 24), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), "group", "downsample")

RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "nano",
    "edits": [
        {"op": "insert", "id": "attn", "at": {"stage": 2}, "block": {"type": "hmhsa", "head_dim": 4}},
    ],
}

# Quick, and with every source of chance on.
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 120,
    "input_size": 32,
    "optimizer": {"lr": 5e-3, "clip_norm": 5.0},
    "schedule": {"warmup_epochs": 0.5},
    "augment": {"scale": [0.7, 1.0], "erasing": 0.2, "mixup": 0.8, "cutmix": 1.0, "crop_pct": 1.0},
    "loss": {"label_smoothing": 0.1},
    "regularize": {"drop_path": 0.2, "dropout": 0.2},
    "ema": {"decay": 0.99, "warmup": True},
    "compute": {"device": "cpu"},
}


def irb_nano(**kwargs: Any) -> nn.Module:
    return Network(_NANO, **kwargs)


def irb_nano_group(**kwargs: Any) -> nn.Module:
    return Network(_NANO_GROUP, **kwargs)


def plain(num_classes: int = 10, in_chans: int = 1) -> nn.Module:
    """A network without BatchNorm, dropout or residuals."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def few_digits(train: int = 160, val: int = 60) -> Data:
    """The first images of digits, for tests that only need some."""
    data = open_data("digits")
    splits = {
        "train": ChosenImages(data.train, range(train)),
        "val": ChosenImages(data.val, range(val)),
    }
    return replace(data, **splits)


QUICK: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 40,
    "input_size": 32,
    "optimizer": {"lr": 1e-2},
    "augment": {"crop_pct": 1.0},
    "compute": {"device": "cpu"},
}


def train_plain(folder: Path, data: Data | None = None, settings: Any = QUICK, **options: Any) -> Any:
    return train("training_nets:plain", data or few_digits(), settings=settings, folder=folder, **options)


class Told(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[Any] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, step: Any) -> None:
        self.steps.append(step)


def kill_me(number: int) -> Callable[[], None]:
    """Return a function that sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)
