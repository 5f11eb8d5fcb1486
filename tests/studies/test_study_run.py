"""Running a study: paired trials, resuming, failures that are rows, drivers that share a folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from study_nets import STUDY, rows, study

from hmhsa_insert.studies import trial as trials
from hmhsa_insert.studies.ablate import StudyRun, ablate
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.store import trial_folder, write_study
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.studies.watcher import Unwatched
from hmhsa_insert.training import train
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.problems import InUseError, Stopped
from hmhsa_insert.training.run_folder import RunFolder
from hmhsa_insert.training.run_tables import read_predictions

HERE = Path(__file__).parent


class Told(Unwatched):
    def __init__(self) -> None:
        self.began: list[str] = []
        self.notes: list[str] = []

    def started(self, trial: Any) -> None:
        self.began.append(trial.id)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyRun:
    """Return the study, run to its end in this process."""
    torch.set_num_threads(1)
    return ablate(STUDY, tmp_path_factory.mktemp("studies") / "whole")


def test_a_trial_is_the_training_it_says(whole: StudyRun, tmp_path: Path) -> None:
    assert whole.count("done") == 4
    attn = whole.planned.trials[2]
    recipe = {"version": 1, **STUDY["variants"]["attn"]}
    alone = train(
        "study_nets:irb_nano",
        "digits",
        recipe=recipe,
        settings=STUDY["settings"]["quick"],
        seed=0,
        folder=tmp_path / "r",
    )
    row = rows(whole.folder)[attn.id]
    for name in ("scores", "best", "epochs", "updates", "images", "num_params", "macs"):
        assert row[name] == getattr(alone, name)
    correct = read_predictions(tmp_path / "r")["correct"].to_numpy()
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), dtype=np.uint8))
    assert (bits[: row["val_images"]] == correct).all()
    assert row["val_images"] == len(correct) == 360
    assert row["memory_bytes"] == whole.planned.costs[attn.cell.digest]["saved_bytes_per_image"]
    assert whole.planned.costs[attn.cell.digest]["macs"] == row["macs"]


@pytest.mark.long
def test_variants_of_a_seed_begin_alike_and_see_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base weights, order and augmented images, bit by bit, of every trial of a seed."""
    seen: dict[tuple[str, int], list[torch.Tensor]] = {}
    weights: dict[tuple[str, int], dict[str, torch.Tensor]] = {}
    now: list[tuple[str, int]] = []
    real = Loop._on_device

    def look(self: Loop, batch: Any) -> Any:
        moved = real(self, batch)
        if now[0] not in weights:
            weights[now[0]] = {key: value.clone() for key, value in self.bare.state_dict().items()}
        seen.setdefault(now[0], []).append(torch.cat([moved.images.flatten(), moved.targets.float()]))
        return moved

    class Watch(Unwatched):
        def started(self, trial: Any) -> None:
            now[:] = [(trial.cell.variant, trial.seed)]

    monkeypatch.setattr(Loop, "_on_device", look)
    other = {"edits": [{"op": "insert", "id": "se", "at": {"stage": [1, 2]}, "block": {"type": "timm/se"}}]}
    run = ablate(study(variants=STUDY["variants"] | {"se": other}), tmp_path / "s", watcher=Watch())
    assert run.count("done") == 6, run.outcomes
    for seed in (0, 1):
        plain, plain_weights = seen[("plain", seed)], weights[("plain", seed)]
        assert len(plain) == 10
        for variant in ("attn", "se"):
            assert all(map(torch.equal, plain, seen[(variant, seed)]))
            own = weights[(variant, seed)]
            assert all(torch.equal(value, own[key]) for key, value in plain_weights.items())
            assert len(own) > len(plain_weights)
    assert not torch.equal(seen[("plain", 0)][0], seen[("plain", 1)][0])


def test_finished_trials_are_never_run_again_and_studies_can_be_extended(
    whole: StudyRun, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    told = Told()
    more = {"edits": [{"op": "insert", "id": "se", "at": {"stage": 2}, "block": {"type": "timm/se"}}]}
    extended = study(
        seeds=3, variants={**STUDY["variants"], "se": more}, exclude=[{"variant": "se", "seed": 2}]
    )
    run = ablate(extended, folder, only=["plain"], watcher=told)
    assert len(told.began) == 1  # plain, seed 2
    assert (run.count("done"), len(run.planned.trials)) == (3, 8)
    assert {id: row for id, row in rows(folder).items() if id not in told.began} == rows(whole.folder)
    assert len(json.loads((folder / "study.json").read_text())["trials"]) == 8


@pytest.mark.long
@pytest.mark.parametrize("calls", [3, 8])
def test_a_stopped_study_goes_on(
    whole: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Ctrl-C inside the first or the second epoch of a trial: the place is saved, the end is the same."""
    real, done = Loop._close_update, [0]

    def interrupt(self: Loop) -> None:
        done[0] += 1
        if done[0] == calls:
            os.kill(os.getpid(), signal.SIGINT)
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_close_update", interrupt)
        with pytest.raises(Stopped):
            ablate(STUDY, tmp_path / "s")
    assert rows(tmp_path / "s") == {}
    ablate(STUDY, tmp_path / "s")
    assert rows(tmp_path / "s") == rows(whole.folder)


def test_a_trial_that_fails_is_a_row(
    whole: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trials.train_run

    def train_run(planned: Any, path: Path, reporter: Any) -> Any:
        if planned.recipe is not None and planned.seed == 1:
            raise MemoryError
        if planned.recipe is None and planned.seed == 0:
            raise ValueError("two\nlines")
        return real(planned, path, reporter)

    with monkeypatch.context() as patch:
        patch.setattr(trials, "train_run", train_run)
        run = ablate(STUDY, tmp_path / "s")
    assert (run.count("done"), run.count("failed")) == (2, 2)
    ids = {(trial.cell.variant, trial.seed): trial.id for trial in run.planned.trials}
    found = rows(tmp_path / "s")
    assert found[ids[("attn", 1)]]["message"] == "MemoryError"
    assert found[ids[("plain", 0)]]["message"] == "ValueError: two lines"
    assert found[ids[("plain", 0)]]["scores"] is None
    assert found[ids[("plain", 0)]].keys() == found[ids[("plain", 1)]].keys()
    told = Told()
    assert ablate(STUDY, tmp_path / "s", watcher=told).count("failed") == 2
    assert told.began == []
    assert ablate(STUDY, tmp_path / "s", retry_failed=True).count("done") == 4
    assert rows(tmp_path / "s") == rows(whole.folder)


def test_a_loss_that_is_no_number_is_a_row(tmp_path: Path) -> None:
    run = ablate(
        study(models={"bad": "study_nets:exploding"}, seeds=1, variants={"plain": None}), tmp_path / "s"
    )
    (outcome,) = run.outcomes.values()
    assert outcome.status == "failed"
    assert "is not a number" in outcome.message


def test_trials_that_are_the_same_run_once(tmp_path: Path) -> None:
    told = Told()
    run = ablate(study(variants={"a": None, "b": {}}, baseline="a", seeds=1), tmp_path / "s", watcher=told)
    assert len(told.began) == 1
    assert len(list((tmp_path / "s" / "trials").iterdir())) == 1
    assert len(run.planned.to_dict()["trials"]) == 2


@pytest.mark.long
def test_a_trial_renamed_while_half_done_goes_on(
    whole: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loop._close_update

    def stop(self: Loop) -> None:
        real(self)
        if self.progress.total == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_close_update", stop)
        with pytest.raises(Stopped):
            ablate(STUDY, tmp_path / "s", only=["attn"])
    variants = {"plain": None, "called otherwise": STUDY["variants"]["attn"]}
    ablate(study(variants=variants), tmp_path / "s", only=["called*"])
    mine, theirs = rows(tmp_path / "s"), rows(whole.folder)
    assert len(mine) == 2
    assert all(theirs[id] == row for id, row in mine.items())


def test_what_else_is_in_a_folder_is_left_alone(whole: StudyRun, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(StudyError, match="holds no study"):
        ablate(STUDY, tmp_path)
    with pytest.raises(StudyError, match="holds the study 'nano', not 'other'"):
        ablate(study(name="other"), whole.folder)
    with pytest.raises(StudyError, match="did you mean 'attn'"):
        ablate(STUDY, whole.folder, only=["atn"])


def test_a_damaged_trial_is_found_before_others_are_trained(tmp_path: Path) -> None:
    small = study(seeds=1)
    planned = plan_study(load_study(small))
    write_study(tmp_path / "s", planned.to_dict())
    damaged = trial_folder(tmp_path / "s", planned.trials[0].id)
    damaged.mkdir(parents=True)
    (damaged / "trial.json").write_text("{")
    with pytest.raises(StudyError, match="it is damaged"):
        ablate(small, tmp_path / "s", only=[planned.trials[1].id])
    assert [path.name for path in (tmp_path / "s" / "trials").iterdir()] == [planned.trials[0].id]


def test_a_folder_that_is_no_trials_is_refused_and_no_row(tmp_path: Path) -> None:
    planned = plan_study(load_study(study(seeds=1)))
    write_study(tmp_path / "s", planned.to_dict())
    foreign = trial_folder(tmp_path / "s", planned.trials[0].id)
    foreign.mkdir(parents=True)
    (foreign / "letters.txt").write_text("dear")
    with pytest.raises(StudyError, match="it exists, and holds no run"):
        ablate(study(seeds=1), tmp_path / "s")
    assert len(rows(tmp_path / "s")) == 1  # the other trial was run all the same
    assert (foreign / "letters.txt").read_text() == "dear"


def test_a_trial_killed_while_its_first_file_was_written_goes_on(tmp_path: Path) -> None:
    small = study(seeds=1, variants={"plain": None})
    planned = plan_study(load_study(small))
    write_study(tmp_path / "s", planned.to_dict())
    begun = trial_folder(tmp_path / "s", planned.trials[0].id)
    begun.mkdir(parents=True)
    (begun / ".writing-config.yaml").write_text("model: stu")
    assert ablate(small, tmp_path / "s").count("done") == 1


def test_a_trial_whose_folder_was_removed_under_it_is_run_again(whole: StudyRun, tmp_path: Path) -> None:
    """What it still wrote after `rm -r`, files of a run without config.yaml, is taken away and not asked about."""
    folder = tmp_path / "s"
    shutil.copytree(whole.folder, folder)
    lost, kept = sorted((folder / "trials").iterdir())[:2]
    before = read_predictions(lost)
    for name in ("config.yaml", "trial.json", "environment.json"):
        (lost / name).unlink()
    shutil.rmtree(lost / "checkpoints", ignore_errors=True)
    (kept / "config.yaml").unlink()  # of a trial that is committed: it is only read
    left = sorted(path.name for path in kept.iterdir())
    assert ablate(STUDY, folder).count("done") == 4
    pd.testing.assert_frame_equal(read_predictions(lost), before)
    assert sorted(path.name for path in kept.iterdir()) == left


def test_remains_of_a_trial_are_not_taken_from_its_process_or_beside_a_users_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    with FileLock(tmp_path / ".lock"), pytest.raises(InUseError):
        run.clear_remains()
    (tmp_path / "letters.txt").write_text("dear")
    run.clear_remains()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "best.safetensors", "letters.txt"}
    (tmp_path / "letters.txt").unlink()
    run.clear_remains()
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


@pytest.mark.long
def test_two_drivers_share_a_study(whole: StudyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one runs what the first has not begun, waits for the rest and says for whom."""
    monkeypatch.setattr(trials, "_PATIENCE_S", 0.0)
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from study_nets import STUDY\nfrom hmhsa_insert.studies.ablate import ablate\n"
        "ablate(STUDY, sys.argv[1])"
    )
    folder = tmp_path / "s"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment) as first:
        while not list(folder.glob("trials/*/.owner")):
            assert first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)  # it has its first trial, and does not go on
        threading.Timer(5.0, lambda: os.kill(first.pid, signal.SIGCONT)).start()
        told = Told()
        run = ablate(STUDY, folder, watcher=told)
        assert first.wait() == 0
    assert run.count("done") == 4
    assert rows(folder) == rows(whole.folder)
    assert any(f"in use by process {first.pid} on" in note for note in told.notes)
