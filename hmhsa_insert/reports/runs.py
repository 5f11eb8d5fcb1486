"""The record of a training run, from the files its folder keeps; read as data, so that no torch is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

_CONFIG, _RESULT = "config.yaml", "result.json"
_COSTS = ("num_params", "macs", "macs_modules_only")


def is_run(folder: Path) -> bool:
    """Say whether `folder` is that of a training run."""
    return (folder / _CONFIG).is_file()


def run_record(folder: Path) -> dict[str, Any]:
    """Return what a finished run reached, as a record of kind ``training``.

    It is called as a profile of the same network and recipe is, so that both become one row.

    Raises:
        ValueError: the run is not finished, or its files are damaged.
        OSError: they cannot be read.
    """
    if not (folder / _RESULT).is_file():
        raise ValueError("this run is not finished: it has no result yet")
    try:
        config = yaml.safe_load((folder / _CONFIG).read_text(encoding="utf-8"))
        result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        network = Path(str(config["model"]).rpartition(":")[2]).name
        side = int(config["settings"]["input_size"])
        return {
            "kind": "training",
            "name": f"{network} + {config['recipe']['name']}" if config["recipe"] else network,
            "group": network,
            "input_size": [3, side, side],
            **{name: int(result[name]) for name in _COSTS if name in result},
            "top1": float(result["top1"]),
            "data": f"{config['data']['source']}, {int(config['data']['val']):,} images",
        }
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error
