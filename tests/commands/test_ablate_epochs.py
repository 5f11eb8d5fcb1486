"""A study in a log: trials that begin, their epochs, the time left; whatever runs them, from their folders."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from command_line import run

from hmhsa_insert.commands import ablate_epochs, ablate_view
from hmhsa_insert.commands.ablate_epochs import Epochs, Repeated
from hmhsa_insert.commands.ablate_view import watcher
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.steps import Steps, read_place
from hmhsa_insert.studies.store import trial_folder
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.training.reporter import OptimizerStep

STUDY = {
    "version": 1,
    "models": "test_resnet",
    "data": "digits",
    "seeds": 1,
    "settings": {"short": {"base": "digits", "epochs": 4, "input_size": 16}},
    "variants": {"plain": None},
}


def _wrote(folder: Path, id: str, epochs: int) -> None:
    path = folder / "trials" / id / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"epoch": epoch, "top1": 10.0 * epoch} for epoch in range(1, epochs + 1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_line_for_every_epoch_but_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablate_epochs, "_LOOK_EVERY_S", 0.0)
    (trial,) = plan_study(load_study(STUDY)).trials
    lines = watcher()
    lines.begin(tmp_path, [trial], {})  # type: ignore[attr-defined]
    lines.started(trial)  # type: ignore[attr-defined]
    for epochs in (1, 1, 2, 4):
        _wrote(tmp_path, trial.id, epochs)
        lines._print_epochs()  # type: ignore[attr-defined]
    said = capsys.readouterr()
    shown = [line for line in (said.out + said.err).splitlines() if line.startswith("plain")]
    assert shown[0] == "plain · seed 0  started"
    assert [line.partition("  (")[0] for line in shown[1:]] == [
        "plain · seed 0  epoch 1/4  top-1 10.00 %",
        "plain · seed 0  epoch 2/4  top-1 20.00 %",
    ]
    assert all(line.endswith(" left)") for line in shown[1:])


def test_the_time_left_is_that_of_the_epochs_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate_epochs, "_LOOK_EVERY_S", 0.0)
    (trial,) = plan_study(load_study(STUDY)).trials
    epochs = Epochs()
    epochs.began[trial.id] = time.monotonic() - 30
    assert epochs.left(trial) is None
    _wrote(tmp_path, trial.id, 3)
    epochs.look(tmp_path, {trial.id: trial})
    assert epochs.known == {trial.id: (3, 30.0)}
    assert epochs.left(trial) == pytest.approx(10, abs=1)


def test_a_line_within_an_epoch_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablate_epochs, "_LOOK_EVERY_S", 0.0)
    (trial,) = plan_study(load_study(STUDY)).trials
    lines = watcher()
    lines.begin(tmp_path, [trial], {})  # type: ignore[attr-defined]
    lines.started(trial)  # type: ignore[attr-defined]
    _wrote(tmp_path, trial.id, 1)
    steps = Steps(trial_folder(tmp_path, trial.id))
    steps.step(OptimizerStep(2, 4, 1300, 2600, 0.5, {}, 100.0))
    steps.step(OptimizerStep(2, 4, 1301, 2600, 0.5, {}, 100.0))  # in the same second: not written
    lines._print_epochs()  # type: ignore[attr-defined]
    monkeypatch.setattr(ablate_view, "_SAY_EVERY_S", 0.0)
    lines._epochs.began[trial.id] = time.monotonic() - 150  # type: ignore[attr-defined]
    lines._print_epochs()  # type: ignore[attr-defined]
    shown = [line for line in capsys.readouterr().out.splitlines() if " epoch " in line]
    assert [line.partition("  (")[0] for line in shown] == [
        "plain · seed 0  epoch 1/4  top-1 10.00 %",
        "plain · seed 0  epoch 2/4  step 1,300/2,600",
    ]
    assert "(4 min 10 s left)" in shown[1]  # 150 s took 1.5 epochs of 4
    steps.end()
    assert not (trial_folder(tmp_path, trial.id) / ".progress").exists()


@pytest.mark.parametrize("text", ["", "1 2", "one 2 3", "1 2 3 4"])
def test_a_place_that_is_being_written_is_not_known(tmp_path: Path, text: str) -> None:
    (tmp_path / ".progress").write_text(text)
    assert read_place(tmp_path) is None


def test_what_is_repeated_ends_with_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate_epochs, "_LOOK_EVERY_S", 0.01)
    calls: list[float] = []
    with Repeated(lambda: calls.append(time.monotonic())):
        while len(calls) < 2:
            time.sleep(0.01)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def test_the_command_says_that_a_trial_began(here: Path) -> None:
    Path("mine.yaml").write_text(json.dumps(STUDY | {"settings": {"s": {"base": "digits", "epochs": 1}}}))
    result = run("ablate mine.yaml -o study")
    assert result.exit_code == 0, result.output
    assert "plain · seed 0  started" in result.output + result.stderr
