"""What tests of studies share: a study small enough to run many times, and what it leaves behind."""

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

STUDY: dict[str, Any] = {
    "version": 1,
    "name": "nano",
    "models": {"nano": "study_nets:irb_nano"},
    "data": "digits",
    "seeds": 2,
    "settings": {
        "quick": {
            "epochs": 2,
            "batch_size": 240,
            "input_size": 16,
            "optimizer": {"lr": 1e-2, "clip_norm": 5.0},
            "augment": {"scale": [0.7, 1.0], "erasing": 0.2, "crop_pct": 1.0},
            "regularize": {"dropout": 0.2},
            "compute": {"device": "cpu"},
        }
    },
    "variants": {
        "plain": None,
        "attn": {
            "edits": [
                {"op": "insert", "id": "attn", "at": {"stage": 2}, "block": {"type": "hmhsa", "head_dim": 4}}
            ]
        },
    },
}


def irb_nano(**kwargs: Any) -> Any:
    from hmhsa_insert.models import Network, NetworkConfig

    config = NetworkConfig((8, 12, 16, 24), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), "batch", "downsample")
    return Network(config, **kwargs)


def exploding(**kwargs: Any) -> Any:
    """Return a network whose loss is not a number from the first update on."""
    import torch

    model = irb_nano(**kwargs)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    return model


def study(**changes: Any) -> dict[str, Any]:
    """Return the study with other values at its top."""
    return STUDY | changes


def rows(folder: Path) -> dict[str, Any]:
    """Return every trial's file by id, without the seconds, which are the clock's."""
    found = {}
    for path in sorted((folder / "trials").glob("*/trial.json")):
        row = json.loads(path.read_text())
        found[row["id"]] = {key: value for key, value in row.items() if key != "seconds"}
    return found


def dies_once(**kwargs: Any) -> Any:
    """Have the worker that builds it killed, as the system does when memory runs out; the next one is let be."""
    flag = Path(os.environ["STUDY_NETS_FLAG"])
    if _in_worker() and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return irb_nano(**kwargs)


def dies_always(**kwargs: Any) -> Any:
    """Have every worker that builds it killed."""
    if _in_worker():
        os.kill(os.getpid(), signal.SIGKILL)
    return irb_nano(**kwargs)


def _in_worker() -> bool:
    # A process of a pool has a parent; Ray's are not started by multiprocessing and say it in their name.
    return multiprocessing.parent_process() is not None or "ray::" in Path("/proc/self/cmdline").read_text()
