"""The record of a training run, from the files its folder keeps; read as data, so that no torch is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.recipe.yaml_text import read_yaml

_CONFIG, _RESULT = "config.yaml", "result.json"
_COSTS = ("num_params", "macs", "macs_modules_only")


def is_run(folder: Path) -> bool:
    """Say whether `folder` is that of a training run."""
    return (folder / _CONFIG).is_file()


def run_record(folder: Path) -> dict[str, Any]:
    """Return what a finished run reached, as a record of kind ``training``.

    It is called as a profile of the same network and recipe is, so that both become one row.

    Raises:
        ValueError: the run is not finished, or its files lack something.
        HmhsaInsertError: they cannot be read.
    """
    if not (folder / _RESULT).is_file():
        raise ValueError("this run is not finished: it has no result yet")
    try:
        config = read_yaml(folder / _CONFIG, HmhsaInsertError)
        result = read_json_mapping(folder / _RESULT, HmhsaInsertError)
        network = Path(str(config["model"]).rpartition(":")[2]).name
        reached, size = (
            _detection(config, result) if "detector" in config else _classification(config, result)
        )
        group = f"{config['detector']} {network}" if "detector" in config else network
        return {
            "kind": "training",
            "name": f"{group} + {config['recipe']['name']}" if config["recipe"] else group,
            "group": group,
            "input_size": size,
            **{name: int(result[name]) for name in _COSTS if name in result},
            **reached,
            "data": f"{config['data']['source']}, {int(config['data']['val']):,} images",
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error


def _classification(config: Any, result: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the accuracy in percent, and the size of the images."""
    side = int(config["settings"]["input_size"])
    return {"top1": float(result["top1"])}, [3, side, side]


def _detection(config: Any, result: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the averages of boxes and masks as shares, and the largest size of the images."""
    sides = config["settings"]["detector"]
    found = {kind: dict(result[kind]) for kind in ("box", "mask") if result.get(kind)}
    return found, [3, int(sides["min_size"]), int(sides["max_size"])]
