"""A run killed at any moment and started again ends as one that was not: byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kill_driver import PLACES

HERE = Path(__file__).parent
QUICK = ("inside_epoch", "checkpoint_optimizer_half_written", "epoch_before_checkpoint")
SLOW = tuple(place for place in PLACES if place not in QUICK)
SAME = (
    "config.yaml",
    "metrics.csv",
    "metrics.jsonl",
    "predictions.csv",
    "result.json",
    "best.safetensors",
    "last.safetensors",
    "ema.safetensors",
    "artifact/model.safetensors",
)


def _drive(folder: Path, places: tuple[str, ...]) -> None:
    paths = [str(HERE), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "kill_driver.py"), str(folder), *places]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def _assert_same(whole: Path, killed: Path) -> None:
    for name in SAME:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), f"{killed.name}/{name}"
    (checkpoint,) = (whole / "checkpoints").iterdir()
    (other,) = (killed / "checkpoints").glob("update-*")
    assert other.name == checkpoint.name
    for name in ("pytorch_model.bin", "optimizer.bin", "run.pt"):
        a, b = (torch.load(path / name, weights_only=True) for path in (checkpoint, other))
        assert _equal(a, b), f"{killed.name}/{name}"


def _equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def _check(folder: Path, places: tuple[str, ...]) -> None:
    _drive(folder, places)
    for place in places:
        _assert_same(folder / "whole", folder / place)


def test_some_places(tmp_path: Path) -> None:
    _check(tmp_path, QUICK)


@pytest.mark.long
def test_every_other_place(tmp_path: Path) -> None:
    _check(tmp_path, SLOW)


@pytest.mark.long
def test_random_moments_again_and_again(tmp_path: Path) -> None:
    _check(tmp_path, ("any0", "any1", "any2"))


def test_the_comparison_sees_one_bit(tmp_path: Path) -> None:
    """The other tests could not fail if this one passed for the wrong reason."""
    state = {"a": torch.ones(3), "b": [1.0, {"c": torch.zeros(2)}]}
    changed = {"a": torch.ones(3), "b": [1.0, {"c": torch.tensor([0.0, 1e-45])}]}
    assert _equal(state, state)
    assert not _equal(state, changed)
