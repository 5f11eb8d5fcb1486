"""Runs that are stopped, broken or refused: what is said, and that nothing is lost."""

import dataclasses
import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_nets import QUICK, Told, few_digits, train_plain

from hmhsa_insert.errors import ArtifactError, Problem
from hmhsa_insert.training import read_config, read_predictions, read_result
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.loop import checkpoint
from hmhsa_insert.training.loop import updates as loop
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.problems import DataError, RunError, Stopped, TrainingError
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.run_folder import RunFolder


def test_ctrl_c_saves_and_the_same_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_plain(tmp_path / "whole")
    original, calls = loop.Loop._close_update, 0

    def interrupted(self: Loop) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(os.getpid(), signal.SIGINT)
        original(self)

    monkeypatch.setattr(loop.Loop, "_close_update", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="stopped after update 6, saved in") as caught:
        train_plain(tmp_path / "stopped")
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
    assert read_result(tmp_path / "stopped") is None
    told = Told()
    again = train_plain(tmp_path / "stopped", reporter=told)
    assert "going on after update 6 (epoch 2)" in told.notes
    assert again.loss == whole.loss
    names = ("last.safetensors", "metrics.csv")
    assert all(
        (tmp_path / "whole" / n).read_bytes() == (tmp_path / "stopped" / n).read_bytes() for n in names
    )


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Loop._prepare_gradients, 0

    def broken(self: Loop) -> None:
        nonlocal calls
        calls += 1
        original(self)
        if calls == 6:
            next(self.bare.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]

    monkeypatch.setattr(Loop, "_prepare_gradients", broken)
    with pytest.raises(TrainingError, match="epoch 2: the loss of update 7 is not a number"):
        train_plain(tmp_path / "run")
    kept = checkpoint.latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert kept is not None
    assert kept.name == "update-000000004"
    state = torch.load(kept / "pytorch_model.bin", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    monkeypatch.undo()
    assert train_plain(tmp_path / "run").loss == train_plain(tmp_path / "whole").loss


def test_a_folder_in_use(tmp_path: Path) -> None:
    planned = plan_run("training_nets:plain", few_digits(), settings=QUICK)
    holder = RunFolder(tmp_path / "run")
    holder.take(planned.config)
    with pytest.raises(RunError, match=rf"in use by process {os.getpid()} on"):
        train_run(planned, tmp_path / "run")
    holder.release()
    assert train_run(planned, tmp_path / "run").epochs == 2


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(RunError, match="it exists, and holds no run"):
        train_plain(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="it exists, and holds no run"):
        train_plain(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "thesis.tex"]


def test_a_damaged_configuration(tmp_path: Path) -> None:
    train_plain(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("just words")
    with pytest.raises(
        RunError, match=r"config\.yaml: it is damaged: 'it' must be a mapping, found 'just words'"
    ):
        train_plain(tmp_path / "run")
    with pytest.raises(RunError, match="is this the folder of a run"):
        read_config(tmp_path)


@pytest.mark.parametrize("name", ["torch.save", "os.fsync"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole = train_plain(tmp_path / "whole")
    owner, attribute = (torch, "save") if name == "torch.save" else (os, "fsync")
    original, calls = getattr(owner, attribute), 0

    def full(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 12 and "checkpoints" in _path_of(args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, attribute, full)
    with pytest.raises(RunError, match="the disk is full"):
        train_plain(tmp_path / "run", settings=QUICK | {"checkpoint_steps": 1})
    kept = checkpoint.latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert kept is not None
    assert not list((tmp_path / "run" / "checkpoints").glob(".writing*"))
    monkeypatch.undo()
    assert train_plain(tmp_path / "run").loss == whole.loss


@pytest.mark.parametrize("name", ["loop.weights.Weights.write_artifact", "run.draw_curves"])
def test_a_disk_that_is_full_at_the_end_says_nothing_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A study takes any other exception for the end of a trial, and does not try it again."""

    def full(*_: Any, **__: Any) -> Any:
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if name == "run.draw_curves":
            raise reason
        raise ArtifactError(Problem("artifact", "it cannot be written")) from reason

    with monkeypatch.context() as patched:
        patched.setattr(f"hmhsa_insert.training.{name}", full)
        with pytest.raises(RunError, match="cannot be written: the disk is full"):
            train_plain(tmp_path)
    assert train_plain(tmp_path).epochs == read_result(tmp_path).epochs


def _path_of(args: tuple[Any, ...]) -> str:
    """Return the path that torch.save or os.fsync was called with."""
    return os.readlink(f"/proc/self/fd/{args[0]}") if isinstance(args[0], int) else str(args[1])


def _damaged(data: Data) -> Data:
    class Broken(ChosenImages):
        def image(self, index: int) -> Any:
            if index in (3, 8):
                raise OSError("image file is truncated")
            return super().image(index)

    broken = {
        name: Broken(getattr(data, name), range(len(getattr(data, name).targets)))
        for name in ("train", "val")
    }
    return dataclasses.replace(data, **broken)


def test_damaged_images_are_skipped_counted_and_named(tmp_path: Path) -> None:
    data, told = _damaged(few_digits()), Told()
    result = train_plain(tmp_path / "run", data, reporter=told)
    assert set(result.damaged) == {data.train.name(3), data.train.name(8)}
    assert len(read_predictions(tmp_path / "run")) == 58
    assert any(note.startswith("2 damaged images were skipped: digits[") for note in told.notes)


def test_damaged_images_as_errors(tmp_path: Path) -> None:
    data = _damaged(few_digits())
    settings = QUICK | {"loader": {"corrupt": "error"}}
    with pytest.raises(DataError, match=r"digits\[\d+\]: this image cannot be read \(remove it"):
        train_plain(tmp_path / "train", data, settings=settings)
    only_val = dataclasses.replace(few_digits(), val=data.val)
    with pytest.raises(DataError, match="image 3 of the validation split cannot be read"):
        train_plain(tmp_path / "val", only_val, settings=settings)
