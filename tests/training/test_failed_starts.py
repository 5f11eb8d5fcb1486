"""A run that fails before its first checkpoint leaves the disk as it was, wherever it fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from training_nets import QUICK, few_digits, plain, train_plain

from hmhsa_insert.studies.ablate import ablate
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.problems import DataError, RunError, Stopped, TrainingError
from hmhsa_insert.training.run import train
from hmhsa_insert.training.run_folder import RunFolder

Break = Callable[[pytest.MonkeyPatch], None]


def _raising(where: str, error: type[BaseException]) -> Break:
    def broken(*_: Any, **__: Any) -> Any:
        raise error("broken")

    return lambda patch: patch.setattr(where, broken)


def _forward_that_fails_in_training(patch: pytest.MonkeyPatch) -> None:
    original = nn.GroupNorm.forward

    def broken(self: nn.GroupNorm, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():
            raise ZeroDivisionError("broken")
        return original(self, x)

    patch.setattr(nn.GroupNorm, "forward", broken)


def _endless_gradient(patch: pytest.MonkeyPatch) -> None:
    original = Loop._prepare_gradients

    def broken(self: Loop) -> None:
        original(self)
        next(self.bare.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]

    patch.setattr(Loop, "_prepare_gradients", broken)


def _signal_in_evaluation_of_the_start(patch: pytest.MonkeyPatch) -> None:
    original = Loop.evaluation_batches

    def broken(self: Loop) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(self)

    patch.setattr(Loop, "evaluation_batches", broken)


_TRAINING = "hmhsa_insert.training"
FAILURES: dict[str, tuple[Break, type[BaseException]]] = {
    "writing the configuration": (_raising(f"{_TRAINING}.loop.checkpoint.flush", OSError), RunError),
    "building the network": (_raising(f"{_TRAINING}.image_task.build_network", TrainingError), TrainingError),
    "Ctrl-C while it is built": (
        _raising(f"{_TRAINING}.image_task.build_network", KeyboardInterrupt),
        KeyboardInterrupt,
    ),
    "setting that shows late": (
        _raising(f"{_TRAINING}.loop.assemble.make_optimizer", TrainingError),
        TrainingError,
    ),
    "writing the environment": (_raising(f"{_TRAINING}.run.environment", OSError), OSError),
    "a block's forward": (_forward_that_fails_in_training, ZeroDivisionError),
    "the loader": (_raising(f"{_TRAINING}.loop.updates.Loop._read", OSError), OSError),
    "memory": (
        _raising(f"{_TRAINING}.image_objective.ImageObjective.to_device", torch.OutOfMemoryError),
        TrainingError,
    ),
    "the loss": (_endless_gradient, TrainingError),
    "the first checkpoint": (
        _raising(f"{_TRAINING}.loop.updates.save_checkpoint", RunError),
        RunError,
    ),
    "a stop before the first update": (_signal_in_evaluation_of_the_start, Stopped),
}


def _train_into(folder: Path) -> None:
    train(plain(), few_digits(), settings=QUICK | {"trackers": ["tensorboard"]}, folder=folder)


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_a_start_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, existed: bool
) -> None:
    broken, error = FAILURES[name]
    folder = tmp_path / "runs" / "new" / "run"
    if existed:
        folder.mkdir(parents=True)
    broken(monkeypatch)
    with pytest.raises(error):
        _train_into(folder)
    assert sorted(tmp_path.rglob("*")) == ([tmp_path / "runs", folder.parent, folder] if existed else [])


def test_a_damaged_picture_in_the_first_batch(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / name / f"{number}.png")
    for path in (tmp_path / "pictures").glob("*/*.png"):
        path.write_bytes(path.read_bytes()[:-30])
    settings = QUICK | {"batch_size": 4, "loader": {"corrupt": "error"}}
    with pytest.raises(DataError, match="cannot be read"):
        train("test_resnet", tmp_path / "pictures", settings=settings, folder=tmp_path / "runs" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_what_is_not_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what came into the folder while the run was set up."""
    folder = tmp_path / "run"

    def broken(*_: Any, **__: Any) -> Any:
        (folder / "notes.txt").write_text("mine")
        raise TrainingError("broken")

    monkeypatch.setattr(f"{_TRAINING}.image_task.build_network", broken)
    with pytest.raises(TrainingError):
        _train_into(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_run_with_a_checkpoint_is_never_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        original, calls = Loop.save, 0

        def once(self: Loop) -> Path:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise TrainingError("later")
            return original(self)

        patched.setattr(Loop, "save", once)
        with pytest.raises(TrainingError):
            train_plain(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    assert tmp_path / "run" / "config.yaml" in before
    _raising(f"{_TRAINING}.image_task.build_network", TrainingError)(monkeypatch)
    with pytest.raises(TrainingError):
        train_plain(tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_a_run_that_was_killed_at_its_start_takes_any_run(tmp_path: Path) -> None:
    """A killed process removes nothing; what it leaves refuses no other run, unless something was trained."""
    killed = RunFolder(tmp_path / "run")
    killed.take(plan_run("training_nets:plain", few_digits(), settings=QUICK).config)
    killed.write_json("environment.json", {})
    killed.release()
    (tmp_path / "run" / ".owner").write_text("process 4194305 on a.host")
    assert train_plain(tmp_path / "run", seed=5).epochs == 2
    with pytest.raises(RunError, match="seed is 5 in this run, and 6 was asked for"):
        train_plain(tmp_path / "run", seed=6)


def test_a_failed_trial_keeps_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(f"{_TRAINING}.loop.updates.Loop._read", ZeroDivisionError)(monkeypatch)
    study = {
        "version": 1,
        "models": "test_resnet",
        "data": "digits",
        "seeds": 1,
        "settings": {"short": {"base": "digits", "epochs": 1, "input_size": 16}},
        "variants": {"plain": None},
    }
    run = ablate(study, tmp_path / "study")
    (id,) = run.outcomes
    assert run.outcomes[id].message == "ZeroDivisionError: broken"
    assert [path.name for path in (tmp_path / "study" / "trials" / id).iterdir()] == ["trial.json"]
