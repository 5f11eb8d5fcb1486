"""A run killed at any moment and started again ends as one that was not: byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kill_driver import PLACES
from kill_matrix import SAME, equal

from hmhsa_insert.training.loop.checkpoint import latest_checkpoint

HERE = Path(__file__).parent
QUICK = ("inside_epoch", "checkpoint_optimizer_half_written", "epoch_before_checkpoint")
SLOW = tuple(place for place in PLACES if place not in QUICK)


def _drive(folder: Path, places: tuple[str, ...]) -> None:
    paths = [str(HERE), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "kill_driver.py"), str(folder), *places]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def _assert_same(whole: Path, killed: Path) -> None:
    for name in SAME:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), f"{killed.name}/{name}"
    checkpoint, other = (latest_checkpoint(folder / "checkpoints") for folder in (whole, killed))
    assert checkpoint is not None
    assert other is not None
    assert other.name == checkpoint.name
    for name in ("pytorch_model.bin", "optimizer.bin", "run.pt"):
        a, b = (torch.load(path / name, weights_only=True) for path in (checkpoint, other))
        assert equal(a, b), f"{killed.name}/{name}"


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
    assert equal(state, state)
    assert not equal(state, changed)
